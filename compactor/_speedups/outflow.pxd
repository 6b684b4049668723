cimport cython

from compactor._speedups.run_queue cimport RunQueue as CRunQueue


cdef class Outflow:
    cdef readonly Py_ssize_t parked
    cdef readonly Py_ssize_t size
    cdef readonly Py_ssize_t written
    cdef readonly object links
    cdef readonly dict links_again
    cdef public bint is_full
    cdef readonly bint is_backed_up
    cdef object _peer
    cdef CRunQueue _run_queue
    cdef Py_ssize_t _max_bytes
    cdef Py_ssize_t _high_water
    cdef Py_ssize_t _block_bytes
    cdef object _ended
    cdef Py_ssize_t _ended_frames
    cdef Py_ssize_t _ended_size
    cdef bytearray _buffer
    cdef list _block
    cdef object _transport
    cdef bint _dirty

    @cython.locals(length=Py_ssize_t, size=Py_ssize_t)
    cpdef write_message(self, bytes prefix, bytes body)

    cdef object _is_much(self)

    @cython.locals(frames=Py_ssize_t, size=Py_ssize_t)
    cdef object _end_block(self)

    @cython.locals(frames=Py_ssize_t, size=Py_ssize_t, buffers=list)
    cpdef flush(self)
