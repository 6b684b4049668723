cimport cython

from compactor._speedups.net.portal cimport Portal as CPortal
from compactor._speedups.actor.mailbox cimport Mailbox as CMailbox
from compactor._speedups.actor.waiter cimport Waiter as CWaiter


cdef class Call:
    # What is called.
    cdef CMailbox _mailbox
    cdef object _method
    cdef object _function
    cdef tuple _args

    # The state, and what has come of it.
    cdef list _steps
    cdef object _said
    cdef public object _result
    cdef public object _exception
    cdef tuple _kept

    # As an event.
    cpdef put(self)

    # Asking for the state.
    cdef object _early(self)
    cdef bint _is_over(self) except -1

    # Setting it.
    cdef bint _start(self) except -1
    cdef object _succeed(self, result)
    cdef object _fail(self, error)
    cdef bint _finishes_early(self, result, error) except -1
    cdef object _finish_late(self, result, error)
    @cython.locals(waiter=CWaiter)
    cdef object _wake(self)


cdef class Dispatcher:
    cdef dict _live
    cdef CPortal _portal
    cdef object _is_local
    cdef object _refuse
    cdef object _later

    @cython.locals(mailbox=CMailbox)
    cpdef new(self, pid, method, tuple args)

    @cython.locals(mailbox=CMailbox, portal=CPortal)
    cpdef dispatch(self, pid, method, tuple args)
