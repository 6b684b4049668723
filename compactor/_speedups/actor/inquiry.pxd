cimport cython

from compactor._speedups.actor.asks cimport Asks as CAsks
from compactor._speedups.actor.scopes cimport Scopes as CScopes

cdef CScopes scopes


@cython.freelist(64)
cdef class Inquiry:
    # What was asked.
    cdef readonly object process
    cdef readonly object call
    cdef object _name
    cdef object _to
    cdef object _encode
    cdef CAsks _asks

    # The state.
    cdef bint _answers
    cdef public bint is_deferred
    cdef int _state
    cdef object _task

    cpdef serve(self, from_pid, body)
    cpdef returned(self, result)
    cpdef give(self, value)
    cdef object _give(self, value, bint is_on_loop)
    cdef object _send(self, name, body, content_type, bint is_on_loop)


cdef class Answering:
    cdef readonly bint answers
    cdef readonly object parse
    cdef object _process
    cdef object _name
    cdef object _call
    cdef object _encode
    cdef CAsks _asks
