from compactor._speedups.actor.run_queue cimport RunQueue as CRunQueue


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
    cdef list _numbers
    cdef list _due
    cdef object _timer
    cdef double _wakes_at

    cpdef ask(self, asked, body, double timeout)
    cpdef bint answer(self, process, to, name, body, content_type) except -1
    cpdef bint answered(self, number, name, body, content_type=*) except -1
    cpdef forget(self, asked)
