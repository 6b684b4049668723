cimport cython


cdef class RunQueue:
    cdef object _loop
    cdef object _ready
    cdef list _dirty
    cdef bint _scheduled
    cdef bint _in_turn
    cdef readonly double turn_end
    cdef object _reader
    cdef double _reader_end

    cpdef schedule(self, mailbox)
    cpdef flush_soon(self, flushable)
    cdef object _schedule(self)
    cpdef begin_turn(self)
    cpdef end_turn(self)
    @cython.locals(now=double)
    cpdef bint is_hogged_by(self, reader) except -1
    cdef object _end_turn(self, bint is_flushing)
