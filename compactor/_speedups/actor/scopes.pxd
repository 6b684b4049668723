cdef class Scope:
    cdef object _context

    cdef run(self, call, a, b)


cdef class Scopes:
    cdef Scope new(self)
    cdef Scope copy(self)
    cdef object set_variable(self, variable, value)
    cdef object reset_variable(self, variable, token)
