"""The C twin of ``compactor.actor.scopes``, for C alone: to enter a context takes less than a call."""

cimport cython
from cpython.contextvars cimport (
    PyContext_CopyCurrent,
    PyContext_Enter,
    PyContext_Exit,
    PyContext_New,
    PyContextVar_Reset,
    PyContextVar_Set,
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

    cdef object set_variable(self, variable, value):
        return PyContextVar_Set(variable, value)

    cdef object reset_variable(self, variable, token):
        PyContextVar_Reset(variable, token)


scopes = Scopes()
