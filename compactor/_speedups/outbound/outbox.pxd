cimport cython

from compactor._speedups.net.portal cimport Portal as CPortal
from compactor._speedups.actor.counts cimport Counts as CCounts
from compactor._speedups.actor.mailbox cimport Mailbox as CMailbox
from compactor._speedups.outbound.send_queue cimport SendQueue as CSendQueue

# Of other modules, as numbers of C.
cdef int ENDED
cdef Py_ssize_t LARGE


cdef class Outbox:
    cdef CMailbox _mailbox
    cdef CCounts _counts
    cdef dict _live
    cdef CPortal _portal
    cdef Py_ssize_t _max_events
    cdef object _send_otherwise
    cdef dict _types
    cdef str _ip
    cdef object _port
    cdef dict _routes
    cdef object _last_to
    cdef object _last_name
    cdef CSendQueue _last_queue
    cdef bytes _last_prefix

    @cython.locals(target=CMailbox, counts=CCounts)
    cpdef bint send(self, to, name, body) except? -1

    @cython.locals(target=CMailbox, counts=CCounts)
    cdef bint _send_typed(self, to, message, bytes body) except? -1

    cdef bint _is_here(self, to) except -1

    cdef bint _send_locally(self, CMailbox target, str name, bytes body) except? -1

    @cython.locals(target=CMailbox)
    cdef bint _send_from_thread(self, to, name, body) except? -1

    cpdef _send_checked(self, to, name, body)
