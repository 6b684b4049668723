cimport cython

from compactor._speedups.pid cimport number_of_digits, temporary_of


cdef int _ASKS
cdef int _ANSWERS


@cython.freelist(64)
cdef class Head:
    # What is asked for.
    cdef readonly str method
    cdef readonly bytes path
    cdef readonly bytes query
    cdef readonly str path_text
    cdef readonly str query_text
    cdef readonly tuple fields
    cdef tuple _late

    # Who asks.
    cdef readonly object sender
    cdef readonly object browser
    cdef readonly bint is_link
    cdef readonly bint is_plain
    cdef readonly bint is_special

    # How it is answered.
    cdef readonly bint wants_answer
    cdef readonly bint keep_alive
    cdef readonly bytes connection
    cdef readonly bint is_old
    cdef readonly bint takes_gzip

    # The body.
    cdef readonly bint expects
    cdef readonly Py_ssize_t length
    cdef readonly bytes coding

    cdef readonly Py_ssize_t size
    cdef readonly object answers

    @cython.locals(head=Head)
    cdef Head copied(self)

    @cython.locals(head=Head, rest=bytes, rest_text=str)
    cdef Head numbered(self, int kind, bytes number)


@cython.locals(head=Head)
cpdef Head parse_head(bytes block)

cpdef Head numbered_head(Head head, bytes line)

cdef _set_connection(Head head, dict last, bint is_old)
cdef _set_sender(Head head, dict last, bint is_old)
cdef _set_body(Head head, dict last, bint is_old)
