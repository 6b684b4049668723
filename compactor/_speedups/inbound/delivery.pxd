cimport cython

from compactor._speedups.wire.request_decoder cimport RequestDecoder as CRequestDecoder
from compactor._speedups.http.exchange cimport Exchange as CExchange
from compactor._speedups.wire.request_head cimport Head as CHead
from compactor._speedups.actor.counts cimport Counts as CCounts
from compactor._speedups.actor.mailbox cimport Mailbox as CMailbox
from compactor._speedups.inbound.response_queue cimport ResponseQueue as CResponseQueue
from compactor._speedups.actor.run_queue cimport RunQueue as CRunQueue


# Of other modules, as numbers of C.
cdef int ENDED
cdef int IDLE
cdef int SUSPENDED
cdef Py_ssize_t LARGE
cdef Py_ssize_t LARGE_BODY
cdef Py_ssize_t FULL_READ
cdef double TURN_SECONDS

# Of this one.
cdef Py_ssize_t _SMALL_READ
cdef Py_ssize_t _FEW


cdef class Delivery:
    # From where.
    cdef object _connection
    cdef CRequestDecoder _decoder
    cdef readonly list kept
    cdef public bint is_shut
    cdef public set senders

    # To where.
    cdef dict _known
    cdef dict _pages
    cdef Py_ssize_t _begun
    cdef CResponseQueue _responses
    cdef CRunQueue _run_queue
    cdef Py_ssize_t _high_water
    cdef object _backlog
    cdef object _answered

    # Receiving.
    @cython.locals(run_queue=CRunQueue)
    cpdef receive(self, bytes data)

    @cython.locals(
        decoder=CRequestDecoder, events=list, began=double, end=double, in_time=bint,
        head=CHead, target=tuple, mailbox=CMailbox, body=bytes,
        counts=CCounts,
    )
    cpdef deliver(self, bytes data)

    # Serving.
    @cython.locals(events=list)
    cdef bint _serve_on(self, double end, bint in_time) except -1

    @cython.locals(
        until_check=int, check_after=int, is_answered=bint, has_to_wait=bint,
        mailbox=CMailbox, head=CHead, last=CHead, index=Py_ssize_t, body=bytes, target=tuple,
        first=Py_ssize_t, queued=Py_ssize_t, counts=CCounts, now=double,
    )
    cdef bint _serve(self, list events, double end, bint in_time) except -1

    cdef object _serve_timed(self, CMailbox mailbox, call, sender, body)

    cdef bint _serve_rarer(self, CHead head, object sender, bytes body, bint in_time) except -1

    @cython.locals(
        page=tuple, mailbox=CMailbox, exchange=CExchange, responses=CResponseQueue, counts=CCounts,
    )
    cdef bint _request(self, CHead head, bytes body, bint in_time) except -1

    cpdef hold_if_full(self, CMailbox mailbox)
