cimport cython


cdef class Head:
    cdef readonly str method
    cdef readonly bytes path
    cdef readonly bytes query
    cdef readonly str path_text
    cdef readonly str query_text
    cdef readonly tuple headers
    cdef readonly object sender
    cdef readonly bint wants_answer
    cdef readonly bint keep_alive
    cdef readonly Py_ssize_t length
    cdef readonly bint gzip
    cdef readonly bint is_link
    cdef readonly Py_ssize_t size


@cython.locals(head=Head)
cpdef Head parse_head(bytes block)
