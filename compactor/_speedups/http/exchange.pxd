from compactor._speedups.wire.request_head cimport Head as CHead


cdef class Exchange:
    cdef object _call
    cdef object _request
    cdef readonly object response
    cdef public object answered
    cdef public Py_ssize_t early
    cdef readonly bint is_abandoned
    cdef public bint is_left
    cdef readonly bint is_oldest
    cdef public bint takes_gzip
    cdef public object late
    cdef public object place

    cpdef serve(self, mailbox)
    cdef object _respond(self, response)
