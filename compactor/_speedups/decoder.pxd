cimport cython

from compactor._speedups.heads cimport Head as CHead


cdef class _Pattern:
    cdef bytes block
    cdef CHead head
    cdef bytes begin
    cdef Py_ssize_t length
    cdef bytes end
    cdef bint is_large

    @cython.locals(
        head=CHead, begin=bytes, end=bytes, length=Py_ssize_t, stop=Py_ssize_t,
        before=Py_ssize_t,
    )
    cdef Py_ssize_t learn(self, bytes data, Py_ssize_t pos, Py_ssize_t max_body) except? -2


cdef class FrameDecoder:
    cdef _Pattern _last
    cdef list _known
    cdef bytes _tail
    cdef Py_ssize_t _scanned
    cdef CHead _head
    cdef list _parts
    cdef Py_ssize_t _joined
    cdef int _state
    cdef readonly Py_ssize_t missing
    cdef Py_ssize_t _received
    cdef Py_ssize_t _max_header
    cdef Py_ssize_t _max_fields
    cdef Py_ssize_t _max_body
    cdef Py_ssize_t _max_inflated
    cdef Py_ssize_t _begun
    cdef object _room
    cdef object _view
    cdef Py_ssize_t _filled
    cdef object _inflater
    cdef Py_ssize_t _left
    cdef readonly bint has_more
    cdef readonly object error
    cdef readonly Py_ssize_t unfinished

    cpdef list feed(self, data)

    cpdef list feed_some(self, data)

    cdef object _leave_off(self, bytes data, Py_ssize_t pos)

    @cython.locals(
        like=_Pattern, begin=bytes, end=bytes, length=Py_ssize_t, pos=Py_ssize_t,
        size=Py_ssize_t, start=Py_ssize_t, stop=Py_ssize_t,
    )
    cdef object _decode(self, bytes data, list events)

    @cython.locals(
        like=_Pattern, block=bytes, start=Py_ssize_t, stop=Py_ssize_t, lines=Py_ssize_t,
        is_large=bint,
    )
    cdef Py_ssize_t _recognise(self, bytes data, Py_ssize_t pos) except? -2

    cdef tuple _find_head(self, bytes data, Py_ssize_t pos)

    cdef object _begin_body(self, CHead head)

    cdef object _expect(self, Py_ssize_t count)

    @cython.locals(head=CHead, part=bytes, line=bytes, end=Py_ssize_t, count=Py_ssize_t)
    cdef Py_ssize_t _continue_body(self, bytes data, Py_ssize_t pos, list events) except? -2

    @cython.locals(body=bytes)
    cdef bytes _whole_body(self, CHead head)
