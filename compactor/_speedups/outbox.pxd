cimport cython

from compactor._speedups.mailbox cimport Mailbox as CMailbox
from compactor._speedups.outflow cimport Outflow as COutflow


cdef class Outbox:
    cdef CMailbox _mailbox
    cdef dict _live
    cdef object _inbox
    cdef Py_ssize_t _max_events
    cdef object _send_otherwise
    cdef dict _routes
    cdef object _last_to
    cdef object _last_name
    cdef COutflow _last_outflow
    cdef bytes _last_prefix

    @cython.locals(target=CMailbox, outflow=COutflow)
    cpdef bint send(self, to, name, body) except? -1

    cdef bint _send_locally(self, CMailbox target, str name, bytes body) except? -1

    @cython.locals(target=CMailbox)
    cdef bint _send_from_thread(self, to, name, body) except? -1

    cpdef _send_checked(self, to, name, body)
