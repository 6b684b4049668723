cimport cython

from compactor._speedups.actor.mailbox cimport Mailbox as CMailbox
from compactor._speedups.actor.run_queue cimport RunQueue as CRunQueue
from compactor._speedups.actor.outcome cimport end_with


cdef int SUSPENDED


@cython.freelist(64)
cdef class Asked:
    # What was asked.
    cdef readonly object to
    cdef readonly object name
    cdef readonly object asker
    cdef readonly object decode
    cdef public object number
    cdef object _forget
    cdef object _check
    cdef bint _is_checked
    cdef public CMailbox mailbox

    # What has come of it.
    cdef bint _is_done
    cdef object _result
    cdef object _error

    # Who waits.
    cdef public bint _asyncio_future_blocking
    cdef object _step
    cdef object _context
    cdef list _later
    cdef CRunQueue _run_queue

    cdef bint _may_be_circle(self) except -1
    cpdef take(self, name, body, content_type)
    cdef object _end(self)
    cpdef drain(self, int limit)
