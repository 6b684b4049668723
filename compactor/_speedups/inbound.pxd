cimport cython

from compactor._speedups.decoder cimport FrameDecoder as CFrameDecoder
from compactor._speedups.heads cimport Head as CHead
from compactor._speedups.mailbox cimport Mailbox as CMailbox
from compactor._speedups.run_queue cimport RunQueue as CRunQueue


cdef class Inbound:
    cdef readonly list answers
    cdef public bint is_shut
    cdef readonly list kept
    cdef public set senders
    cdef object _connection
    cdef CFrameDecoder _decoder
    cdef dict _known
    cdef CRunQueue _run_queue
    cdef Py_ssize_t _high_water
    cdef Py_ssize_t _high_water_bytes

    cpdef receive(self, bytes data)

    @cython.locals(decoder=CFrameDecoder, events=list, end=double, in_time=bint)
    cpdef bint deliver(self, bytes data) except -1

    @cython.locals(
        until_check=int, check_after=int, is_answered=bint, is_held=bint,
        mailbox=CMailbox, head=CHead, last=CHead, index=Py_ssize_t, body=bytes,
    )
    cdef bint _serve(self, list events, double end, bint in_time) except -1

    cpdef hold_if_full(self, CMailbox mailbox)
