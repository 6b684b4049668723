cimport cython

from compactor._speedups.actor.mailbox cimport Mailbox as CMailbox
from compactor._speedups.outbound.send_queue cimport SendQueue as CSendQueue


cdef class AskWays:
    # This context.
    cdef object _here
    cdef str _ip
    cdef object _port
    cdef dict _live
    cdef Py_ssize_t _max_events
    cdef object _temporary_at

    # The ways to others.
    cdef object _owner
    cdef object _is_told
    cdef dict _ways

    cpdef ask(self, asker, number, to, name, bytes body)
    @cython.locals(mailbox=CMailbox)
    cdef object _ask_here(self, asker, number, to, name, bytes body)
    @cython.locals(queue=CSendQueue)
    cpdef bint answer_shortly(self, sender, to, name, bytes body) except -1
    @cython.locals(queue=CSendQueue)
    cdef bint _write(self, sender, to, bytes kind, number, name, bytes body) except -1
