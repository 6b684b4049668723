cimport cython


cdef class Portal:
    cdef object _before
    cdef object _then
    cdef object _calls
    cdef object _loop
    cdef public object thread
    cdef public bint is_stopping
    cdef bint _woken
    cdef bint _closed
    cdef object _closing

    cpdef put(self, call, tuple args)

    @cython.locals(limit=int)
    cdef object _make_calls(self, int limit)
