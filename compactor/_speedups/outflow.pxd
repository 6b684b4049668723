cimport cython

from compactor._speedups.run_queue cimport RunQueue as CRunQueue


cdef class Outflow:
    cdef readonly Py_ssize_t size
    cdef readonly Py_ssize_t written
    cdef readonly dict links
    cdef public bint is_full
    cdef object _peer
    cdef CRunQueue _run_queue
    cdef Py_ssize_t _max_bytes
    cdef object _frames
    cdef Py_ssize_t _large
    cdef object _transport
    cdef bint _dirty

    @cython.locals(size=Py_ssize_t)
    cpdef write_message(self, bytes prefix, bytes body)
    cpdef flush(self)
