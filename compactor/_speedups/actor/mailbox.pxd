cimport cython

from compactor._speedups.actor.counts cimport Counts as CCounts
from compactor._speedups.actor.run_queue cimport RunQueue as CRunQueue
from compactor._speedups.actor.scopes cimport Scope as CScope, Scopes as CScopes

cdef CScopes scopes


cdef class Mailbox:
    # Whose it is.
    cdef readonly object process
    cdef readonly object pid
    cdef readonly dict calls
    cdef public object outbox
    cdef public list paths
    cdef object _owner
    cdef CRunQueue _run_queue
    cdef CScope _scope

    # What is counted.
    cdef public CCounts counts

    # What waits.
    cdef public object queue
    cdef public int state
    cdef readonly Py_ssize_t large_bytes
    cdef public dict feeders
    cdef int _first_look

    # What is awaited, and how it ends.
    cdef readonly object _task
    cdef readonly object _dropped
    cdef readonly bint _finalizing

    # Putting.
    cpdef call_for(self, str name)
    cpdef put(self, call, a, b)
    @cython.locals(counts=CCounts)
    cpdef put_event(self, event)
    cpdef put_message(self, call, sender, bytes body)
    cpdef account(self, Py_ssize_t size)

    # Serving.
    @cython.locals(scope=CScope)
    cpdef initialize(self)
    cpdef open(self)
    @cython.locals(scope=CScope)
    cpdef serve_now(self, call, a, b)
    @cython.locals(
        served=int, looked=int, next_look=int, entry=tuple, counts=CCounts, now=double, clock=object,
    )
    cpdef drain(self, int limit)
    cdef object _resume(self)

    # Ending.
    cpdef terminate(self, bint inject)
    cdef object _serve_last(self)
    cpdef abandon(self, reason, event=*, error=*)
    cpdef _finalized(self, error)
    cdef object _end(self, reason, entry, error)
    cdef object _cancel_task(self)
    cdef object _discard(self, reason)
