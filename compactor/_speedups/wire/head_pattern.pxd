cimport cython

from compactor._speedups.pid cimport temporary_of
from compactor._speedups.wire.request_head cimport Head as CHead

ctypedef const char* chars

cdef Py_ssize_t _MOST_DIGITS
cdef Py_ssize_t _HEX_DIGITS
cdef int _ZERO
cdef int _NINE
cdef int _A
cdef int _F
cdef int _LOWER
cdef int _SEMICOLON
cdef int _EQUALS
cdef int _CR
cdef int _LF


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

    # A message that no other repeats.
    cdef bint is_relative
    cdef Py_ssize_t once
    cdef CHead given

    cdef Py_ssize_t room(self) except -1

    @cython.locals(
        head=CHead, begin=bytes, end=bytes, length=Py_ssize_t, stop=Py_ssize_t,
        before=Py_ssize_t, start=Py_ssize_t,
    )
    cdef Py_ssize_t learn(self, bytes data, Py_ssize_t pos, Py_ssize_t max_body) except? -2

    @cython.locals(
        raw=chars, at=Py_ssize_t, end=Py_ssize_t, start=Py_ssize_t, digit=int, kind=int,
        length=Py_ssize_t, given=CHead,
    )
    cdef Py_ssize_t _read_once(self, bytes data, Py_ssize_t pos, Py_ssize_t max_body) except? -2


cdef class HeadFamily:
    cdef HeadPattern like

    # The first head, cut.
    cdef CHead _first
    cdef bytes _before
    cdef bytes _between
    cdef bytes _behind
    cdef Py_ssize_t _digits

    # What is made of another number.
    cdef bint _in_path
    cdef bytes _path
    cdef str _path_text
    cdef list _fields

    @cython.locals(
        raw=chars, start=Py_ssize_t, stop=Py_ssize_t, end=Py_ssize_t, at=Py_ssize_t, number=bytes,
        more=Py_ssize_t,
    )
    cdef Py_ssize_t recognise(self, bytes data, Py_ssize_t pos, Py_ssize_t most) except? -2

    @cython.locals(first=CHead, head=CHead)
    cdef CHead _head(self, bytes number, Py_ssize_t more)
