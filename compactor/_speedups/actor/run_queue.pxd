cimport cython

from compactor._speedups.actor.counts cimport Counts as CCounts


cdef class RunQueue:
    # What there is to do.
    cdef object _ready
    cdef list _dirty

    # The turn.
    cdef readonly object now
    cdef object _loop
    cdef bint _scheduled
    cdef public bint is_in_turn
    cdef readonly double turn_end
    cdef public int unlooked
    cdef double _slow_after
    cdef object _tell_slow
    cdef public bint samples_next
    cdef bint _samples_next_async
    cdef double _sample_due
    cdef readonly object samples
    cdef readonly CCounts counts
    cdef bint _times_schedule
    cdef double _scheduled_at

    # Who reads.
    cdef object _reader
    cdef double _reader_end

    # Asking for a turn.
    cpdef schedule(self, ready)
    cpdef flush_soon(self, flushable)
    cdef object _schedule(self)

    # Taking it.
    cpdef begin_turn(self)
    @cython.locals(dirty=list, flushed=Py_ssize_t)
    cpdef end_turn(self, bint is_run=*)
    @cython.locals(now=double)
    cpdef bint is_hogged_by(self, reader) except -1

    @cython.locals(before=double, now=double)
    cpdef run(self)
    cpdef tell_if_slow(self, mailbox, entry, int unlooked, double seconds)
    cpdef sampled(self, coroutine, mailbox, entry)
    cpdef watch(self, double slow_after, tell_slow)
