from compactor._speedups.actor.run_queue cimport RunQueue as CRunQueue


cdef class Waiter:
    # What is waited for.
    cdef bint _is_done
    cdef bint _is_cancelled
    cdef object _message

    # The task that waits.
    cdef public bint _asyncio_future_blocking
    cdef object _step
    cdef object _context
    cdef CRunQueue _run_queue

    cpdef set_result(self, result)
    cpdef drain(self, int limit)
