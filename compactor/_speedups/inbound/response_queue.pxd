cimport cython

from compactor._speedups.wire.request_head cimport Head as CHead


cdef class HttpDate:
    cdef double _second
    cdef double _until
    cdef bytes _value
    cdef dict _heads

    @cython.locals(now=double)
    cpdef bytes now(self)
    @cython.locals(key=bytes)
    cpdef bytes head(self, bytes line, bytes connection)


cdef class ResponseQueue:
    cdef readonly list due
    cdef readonly object waiting
    cdef readonly Py_ssize_t waiting_bytes
    cdef readonly Py_ssize_t early_bytes
    cdef readonly bint is_left
    cdef public bint is_over
    cdef object _encode
    cdef object _encode_body
    cdef HttpDate _date
    cdef Py_ssize_t _max_waiting
    cdef Py_ssize_t _max_waiting_bytes
    cdef object _transport
    cdef object _gate
    cdef object _owner
    cdef readonly object stream
    cdef public object body
    cdef Py_ssize_t _unsent

    @cython.locals(encoded=bytes)
    cpdef bint give(self, answer, CHead head) except -1
    cpdef write(self)
    cpdef bytes encoded(self, answer, CHead head)
