"""The C twin of ``compactor.actor.scopes``, for C alone: to enter a context takes less than a call."""

cimport cython
from cpython.contextvars cimport (
    PyContext_CopyCurrent,
    PyContext_Enter,
    PyContext_Exit,
    PyContext_New,
)


@cython.freelist(64)
cdef class Scope:
    cdef run(self, call, a, b):
        cdef object context = self._context  # the call may be the end of this scope
        PyContext_Enter(context)
        try:
            return call(a, b)
        finally:
            PyContext_Exit(context)

    def __len__(self):
        return len(self._context)


cdef class Scopes:
    cdef Scope new(self):
        cdef Scope scope = Scope.__new__(Scope)
        scope._context = PyContext_New()
        return scope

    cdef Scope copy(self):
        cdef Scope scope = Scope.__new__(Scope)
        scope._context = PyContext_CopyCurrent()
        return scope


scopes = Scopes()
