cdef extern from *:
    """
    #ifndef COMPACTOR_PIDS
    #define COMPACTOR_PIDS
    /* The slots of pids, as CPython lays them out; pid.pyx checks that it does. */
    typedef struct {
        PyObject_HEAD
        PyObject *id, *ip, *port;
    } CompactorPid;

    typedef struct {
        CompactorPid parts;
    #if PY_VERSION_HEX < 0x030C0000
        PyObject *weak_references;  /* which later versions keep before the head */
    #endif
        PyObject *asker, *number;
    } CompactorTemporary;
    #endif
    """
    ctypedef class compactor.pid.PID [object CompactorPid, check_size ignore]:
        cdef str id
        cdef str ip
        cdef object port

    ctypedef class compactor.pid.Temporary [
        object CompactorTemporary, check_size ignore
    ]:
        cdef str id "parts.id"
        cdef str ip "parts.ip"
        cdef object port "parts.port"
        cdef object asker
        cdef object number


cpdef object number_of_digits(bytes digits)
cpdef object temporary_of(at, bytes number, asker)
cpdef object temporary_at(at, number, asker)
