cimport cython

from compactor._speedups.run_queue cimport RunQueue as CRunQueue


cdef class Mailbox:
    cdef readonly object process
    cdef readonly object pid
    cdef readonly object queue
    cdef readonly int state
    cdef public object outbox
    cdef public list paths
    cdef readonly Py_ssize_t large_bytes
    cdef public dict feeders
    cdef object _owner
    cdef CRunQueue _run_queue
    cdef readonly dict calls
    cdef object _task
    cdef bint _finalizing
    cdef int _first_look

    cpdef call_for(self, str name)
    cpdef put(self, call, a, b)
    cpdef serve_now(self, call, a, b)
    cpdef put_message(self, call, sender, bytes body)
    cdef object _wake(self)

    @cython.locals(served=int, next_look=int)
    cpdef drain(self, int limit)
