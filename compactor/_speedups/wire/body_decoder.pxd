cimport cython

from compactor._speedups.wire.request_head cimport Head as CHead


cdef class BodyDecoder:
    # Bounds.
    cdef Py_ssize_t _max_bytes

    # What is left to do.
    cdef readonly Py_ssize_t missing
    cdef Py_ssize_t left
    cdef bytes rest
    cdef bytes size_line
    cdef bint is_late

    # The body.
    cdef int _state
    cdef bint _is_chunked
    cdef Py_ssize_t _received
    cdef list _pieces
    cdef Py_ssize_t _joined

    # The place that is lent for it.
    cdef object _room
    cdef object _view
    cdef Py_ssize_t _filled

    # From outside.
    cdef object begin(self, CHead head)
    cdef Py_ssize_t feed(self, bytes data, Py_ssize_t pos) except? -2
    @cython.locals(pieces=list)
    cdef bytes take(self)
    cdef object forget(self)
    cpdef lend(self)
    cpdef bint filled(self, Py_ssize_t count) except -1
    cdef object take_back(self)

    # States.
    cdef object _expect(self, Py_ssize_t count)
    @cython.locals(piece=bytes)
    cdef Py_ssize_t _read_data(self, bytes data, Py_ssize_t pos) except? -2
    @cython.locals(end=Py_ssize_t, count=Py_ssize_t, line=bytes)
    cdef Py_ssize_t _read_size(self, bytes data, Py_ssize_t pos) except? -2
    @cython.locals(line=bytes)
    cdef Py_ssize_t _read_line_end(self, bytes data, Py_ssize_t pos) except? -2
    cdef Py_ssize_t _keep(self, bytes rest) except? -2
    cdef object _join_pieces(self)
