cimport cython

from compactor._speedups.actor.asked cimport Asked as CAsked
from compactor._speedups.actor.run_queue cimport RunQueue as CRunQueue
from compactor._speedups.pid cimport Temporary as CTemporary


cdef class Target:
    cdef readonly object pid
    cdef public dict waiting
    cdef object _asks


cdef class Asks:
    cdef readonly object inquiries
    cdef readonly set leaving
    cdef readonly set left
    cdef readonly long long answers
    cdef readonly long long failures
    cdef readonly long long timeouts
    cdef readonly long long unanswered
    cdef tuple _here
    cdef CRunQueue _run_queue
    cdef object _watches
    cdef object _ways
    cdef object _refuse
    cdef object _tell_given_up
    cdef dict _waiting
    cdef dict _targets
    cdef Target _last
    cdef list _numbers
    cdef list _due
    cdef object _time
    cdef object _timer
    cdef double _wakes_at

    @cython.locals(target=Target, own=CAsked)
    cpdef ask(self, asked, asker, to, name, body, double timeout)
    cdef object _new_number(self)
    @cython.locals(when=double, due=list)
    cdef object _set_time(self, number, double timeout)
    @cython.locals(temporary=CTemporary)
    cpdef bint answer(self, process, to, name, body, content_type) except -1
    @cython.locals(target=Target)
    cpdef bint answered(self, number, name, body, content_type=*) except -1
    cpdef forget(self, asked)
