cimport cython

from compactor._speedups.heads cimport Head as CHead


cdef class FrameDecoder:
    cdef bytes _block
    cdef CHead _last_head
    cdef bytes _begin
    cdef Py_ssize_t _length
    cdef bytes _end
    cdef bytes _tail
    cdef Py_ssize_t _scanned
    cdef CHead _head
    cdef list _parts
    cdef int _state
    cdef Py_ssize_t _missing
    cdef Py_ssize_t _received
    cdef Py_ssize_t _max_header
    cdef Py_ssize_t _max_body
    cdef readonly object error

    cpdef list feed(self, bytes data)

    @cython.locals(
        pos=Py_ssize_t, size=Py_ssize_t, start=Py_ssize_t, stop=Py_ssize_t, length=Py_ssize_t,
        head=CHead, block=bytes, begin=bytes, end=bytes,
    )
    cdef object _decode(self, bytes data, list events)

    @cython.locals(head=CHead, length=Py_ssize_t, line_end=Py_ssize_t, begin=bytes, end=bytes)
    cdef Py_ssize_t _learn(self, bytes data, Py_ssize_t pos) except? -2

    cdef tuple _find_head(self, bytes data, Py_ssize_t pos)

    cdef object _begin_body(self, CHead head)

    cdef object _expect(self, Py_ssize_t count)

    @cython.locals(head=CHead, part=bytes, line=bytes, body=bytes, line_end=Py_ssize_t, count=Py_ssize_t)
    cdef Py_ssize_t _continue_body(self, bytes data, Py_ssize_t pos, list events) except? -2
