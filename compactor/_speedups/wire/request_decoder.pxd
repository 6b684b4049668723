cimport cython

from compactor._speedups.wire.body_decoder cimport BodyDecoder as CBodyDecoder
from compactor._speedups.wire.head_pattern cimport HeadFamily as CHeadFamily
from compactor._speedups.wire.head_pattern cimport HeadPattern as CHeadPattern
from compactor._speedups.wire.request_head cimport Head as CHead

ctypedef const char* chars  # of bytes: slices of it take no objects besides the one that they are


cdef class RequestDecoder:
    # Bounds.
    cdef Py_ssize_t _max_header
    cdef Py_ssize_t _max_fields
    cdef Py_ssize_t _max_body

    # What was learned from earlier requests.
    cdef CHeadPattern _last
    cdef Py_ssize_t _alone
    cdef list _known
    cdef dict _more
    cdef Py_ssize_t _remembered
    cdef list _families

    # The request that has begun.
    cdef bytes _tail
    cdef Py_ssize_t _scanned
    cdef bytearray _held
    cdef CHead _head
    cdef readonly CBodyDecoder body
    cdef Py_ssize_t _begun
    cdef readonly Py_ssize_t unfinished

    # The step.
    cdef Py_ssize_t _left
    cdef readonly bint has_more
    cdef public bint is_awaited
    cdef readonly object error

    # From outside.
    cpdef list feed(self, data)

    @cython.locals(like=CHeadPattern, whole=bytes, raw=chars)
    cpdef list feed_some(self, data)

    cpdef refuse(self, error)
    cpdef forget(self)

    # A step.
    @cython.locals(
        like=CHeadPattern, begin=bytes, end=bytes, length=Py_ssize_t, pos=Py_ssize_t,
        raw=chars, size=Py_ssize_t, start=Py_ssize_t, stop=Py_ssize_t,
    )
    cdef object _decode(self, bytes data, list events)

    cdef object _leave_off(self, bytes data, Py_ssize_t pos)

    # Heads.
    @cython.locals(
        like=CHeadPattern, family=CHeadFamily, block=bytes, start=Py_ssize_t, stop=Py_ssize_t,
        known=object,
    )
    cdef Py_ssize_t _recognise(self, bytes data, Py_ssize_t pos) except? -2

    @cython.locals(lines=Py_ssize_t, is_large=bint)
    cdef object _learn_head(self, bytes block)

    @cython.locals(more=dict, older=CHeadPattern, oldest=CHeadPattern)
    cdef object _remember(self, CHeadPattern like)

    cdef object _meet(self, head, bytes block)

    cdef tuple _find_head(self, bytes data, Py_ssize_t pos)

    @cython.locals(held=bytearray)
    cdef bint _ends_head(self, bytes data) except -1

    # Bodies.
    @cython.locals(body=CBodyDecoder, head=CHead)
    cdef Py_ssize_t _continue_body(self, bytes data, Py_ssize_t pos, list events) except? -2
