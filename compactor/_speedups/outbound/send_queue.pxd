cimport cython

from compactor._speedups.wire.encoder cimport append_message, append_numbered, new_buffer, reuse
from compactor._speedups.actor.run_queue cimport RunQueue as CRunQueue


cdef Py_ssize_t _LARGE
cdef Py_ssize_t _FRAMING
cdef Py_ssize_t _NUMBER
cdef Py_ssize_t _REUSED


cdef class SendQueue:
    # What is parked: ended blocks, and the one that has not ended.
    cdef readonly Py_ssize_t parked
    cdef readonly Py_ssize_t size
    cdef object _ended
    cdef Py_ssize_t _ended_frames
    cdef Py_ssize_t _ended_size
    cdef list _block
    cdef bytearray _buffer
    cdef dict _links

    # Bounds.
    cdef Py_ssize_t _max_bytes
    cdef Py_ssize_t _room
    cdef Py_ssize_t _high_water
    cdef Py_ssize_t _block_bytes

    # The way out.
    cdef object _peer
    cdef object _transport
    cdef CRunQueue _run_queue
    cdef bint _dirty
    cdef public bint is_full
    cdef public bint is_held
    cdef public int numbers
    cdef readonly bint is_backed_up
    cdef readonly Py_ssize_t written
    cdef public object unanswered

    # Parking.
    @cython.locals(length=Py_ssize_t, size=Py_ssize_t, is_much=bint)
    cpdef write_message(self, bytes prefix, bytes body)
    @cython.locals(size=Py_ssize_t)
    cpdef bint write_numbered(
        self, bytes prefix, bytes kind, unsigned long long number, bytes body
    ) except -1
    cdef object _is_much(self)
    @cython.locals(frames=Py_ssize_t, size=Py_ssize_t)
    cdef object _end_block(self)

    # Writing.
    @cython.locals(frames=Py_ssize_t, size=Py_ssize_t, buffers=list)
    cpdef flush(self)
