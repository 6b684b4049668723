cimport cython

from compactor._speedups.wire.request_head cimport Head as CHead


cdef class HeadPattern:
    # The head.
    cdef bytes block
    cdef CHead head
    cdef bint is_large

    # The last message of it.
    cdef bytes begin
    cdef Py_ssize_t length
    cdef bytes end
    cdef Py_ssize_t start
    cdef Py_ssize_t stop
    cdef Py_ssize_t size

    @cython.locals(
        head=CHead, begin=bytes, end=bytes, length=Py_ssize_t, stop=Py_ssize_t,
        before=Py_ssize_t,
    )
    cdef Py_ssize_t learn(self, bytes data, Py_ssize_t pos, Py_ssize_t max_body) except? -2
