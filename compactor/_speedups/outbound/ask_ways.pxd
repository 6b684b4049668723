cimport cython

from compactor._speedups.actor.mailbox cimport Mailbox as CMailbox
from compactor._speedups.outbound.send_queue cimport SendQueue as CSendQueue
from compactor._speedups.pid cimport PID as CPID, temporary_at


cdef class AskWays:
    # This context.
    cdef object _here
    cdef str _ip
    cdef int _port
    cdef dict _live
    cdef Py_ssize_t _max_events

    # The ways to others.
    cdef object _owner
    cdef object _is_told
    cdef dict _ways

    @cython.locals(target=CPID)
    cpdef ask(self, asker, number, to, name, bytes body)
    @cython.locals(mailbox=CMailbox, target=CPID)
    cdef object _ask_here(self, asker, number, to, name, bytes body)
    @cython.locals(queue=CSendQueue, source=CPID, target=CPID)
    cpdef bint answer_shortly(self, sender, to, name, bytes body) except -1
    @cython.locals(queue=CSendQueue, source=CPID, target=CPID)
    cdef bint _write(self, sender, to, bytes kind, number, name, bytes body) except -1
