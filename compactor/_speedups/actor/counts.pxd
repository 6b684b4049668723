cimport cython


cdef class Counts:
    # What is counted.
    cdef public long long left
    cdef public long long target
    cdef public long long others
    cdef public long long arrived
    cdef public long long bytes_in
    cdef public long long bytes_out
    cdef public long long sent
    cdef public long long local
    cdef public Py_ssize_t deepest
    cdef public bint is_shared
    cdef public Py_ssize_t failures
    cdef public Py_ssize_t restarts
    cdef public dict letters

    # What is timed.
    cdef object _samples
    cdef public object times
    cdef public double began
    cdef public bint is_marking
    cdef long long _timed
    cdef long long _weight
    cdef list _marks

    cpdef own(self, mailbox)
    cpdef int first_look(self, Py_ssize_t waiting, int planned, clock) except -1
    cpdef served(self, int number, Py_ssize_t waiting, clock)
    cpdef took(self, Py_ssize_t number, Py_ssize_t queued, Py_ssize_t size)
    cdef object _renew(self)
    cpdef serve_timed(self, mailbox, clock, call, a, b)
    @cython.locals(handled=cython.longlong)
    cpdef begin(self, double now)
    @cython.locals(seconds=double)
    cpdef end(self, double now)
    cpdef mark(self, double now)
    @cython.locals(handled=cython.longlong, marks=list)
    cdef object _mark_more(self, Py_ssize_t waiting, clock)
    cdef object _tell_wait(self)
    cpdef waited(self, double seconds)
