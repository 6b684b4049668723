cdef class Scope:
    cdef object _context

    cdef run(self, call, a, b)


cdef class Scopes:
    cdef Scope new(self)
    cdef Scope copy(self)
