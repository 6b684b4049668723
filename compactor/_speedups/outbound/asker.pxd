cimport cython

from compactor._speedups.actor.asked cimport Asked as CAsked
from compactor._speedups.actor.asks cimport Asks as CAsks
from compactor._speedups.actor.run_queue cimport RunQueue as CRunQueue
from compactor._speedups.net.portal cimport Portal as CPortal
from compactor._speedups.pid cimport PID as CPID


cdef class Asker:
    # Who asks.
    cdef CPID _pid
    cdef CPortal _portal
    cdef CRunQueue _run_queue

    # The short way, and the long one.
    cdef CAsks _asks
    cdef set _plain_names
    cdef double _timeout
    cdef object _forget
    cdef object _check
    cdef object _ask_otherwise

    @cython.locals(pid=CPID, target=CPID)
    cpdef ask(self, to, name, body, timeout, reply)
