"""The C twin of ``compactor.pid``: pids of parts that are checked already."""

from cpython.object cimport PyObject_GenericSetAttr

from compactor.pid import PID, Temporary, _Parts

cdef extern from "Python.h":
    ctypedef struct PyTypeObject
    object PyType_GenericAlloc(PyTypeObject*, Py_ssize_t)


cpdef object pid_of(ip, port, id_):
    """A pid of parts that are plain and have been checked; see ``compactor.pid``."""
    cdef object pid = PyType_GenericAlloc(<PyTypeObject*>PID, 0)
    PyObject_GenericSetAttr(pid, "ip", ip)
    PyObject_GenericSetAttr(pid, "port", port)
    PyObject_GenericSetAttr(pid, "id", id_)
    return pid


cdef extern from *:
    """
    #include <structmember.h>

    static Py_ssize_t offset_of(PyObject* slot) {
        return ((PyMemberDescrObject*)slot)->d_member->offset;
    }

    static void put(PyObject* pid, Py_ssize_t offset, PyObject* value) {
        Py_INCREF(value);
        *(PyObject**)((char*)pid + offset) = value;
    }

    static PyObject* get(PyObject* pid, Py_ssize_t offset) {
        PyObject* value = *(PyObject**)((char*)pid + offset);
        Py_INCREF(value);
        return value;
    }

    static PyObject* temporary_id(const char* digits, Py_ssize_t count) {
        PyObject* id = PyUnicode_New(count + 13, 127);
        if (id != NULL) {
            char* at = (char*)PyUnicode_1BYTE_DATA(id);
            memcpy(at, "__req_res__(", 12);
            memcpy(at + 12, digits, count);
            at[count + 12] = ')';
        }
        return id;
    }
    """
    Py_ssize_t offset_of(object slot)
    void put(object pid, Py_ssize_t offset, object value)
    object get(object pid, Py_ssize_t offset)
    object temporary_id(const char* digits, Py_ssize_t count)


cdef Py_ssize_t _IP = offset_of(vars(_Parts)["ip"])
cdef Py_ssize_t _PORT = offset_of(vars(_Parts)["port"])
cdef Py_ssize_t _ID = offset_of(vars(_Parts)["id"])
cdef Py_ssize_t _ASKER = offset_of(vars(Temporary)["asker"])
cdef Py_ssize_t _NUMBER = offset_of(vars(Temporary)["number"])


cdef extern from *:
    """
    #include <stddef.h>

    static int is_laid_out(
        Py_ssize_t id, Py_ssize_t ip, Py_ssize_t port, Py_ssize_t asker, Py_ssize_t number
    ) {
        return id == offsetof(CompactorPid, id) && ip == offsetof(CompactorPid, ip)
            && port == offsetof(CompactorPid, port)
            && asker == offsetof(CompactorTemporary, asker)
            && number == offsetof(CompactorTemporary, number);
    }
    """
    bint is_laid_out(
        Py_ssize_t id, Py_ssize_t ip, Py_ssize_t port, Py_ssize_t asker, Py_ssize_t number
    )


if not is_laid_out(_ID, _IP, _PORT, _ASKER, _NUMBER):
    raise ImportError("the slots of a PID are not where compiled code reads them")


cpdef object number_of_digits(bytes digits):
    """The number that is written in digits alone; see ``compactor.pid``."""
    cdef const char* at = digits
    cdef Py_ssize_t count = len(digits)
    cdef unsigned long long number = 0
    cdef Py_ssize_t place
    if count > 19 or (at[0] == c"0" and count > 1):
        return -1
    for place in range(count):
        number = 10 * number + (at[place] - c"0")
    return number


cpdef object temporary_of(at, bytes number, asker):
    """The temporary pid of a number, at the address of another pid; see ``compactor.pid``."""
    return _temporary(at, temporary_id(number, len(number)), number_of_digits(number), asker)


cpdef object temporary_at(at, number, asker):
    """The same, of a number that is not written yet."""
    cdef char[20] digits
    cdef Py_ssize_t first = 20
    cdef unsigned long long left = number
    while True:
        first -= 1
        digits[first] = c"0" + <char>(left % 10)
        left //= 10
        if not left:
            break
    return _temporary(at, temporary_id(&digits[first], 20 - first), number, asker)


cdef object _temporary(at, id_, number, asker):
    cdef object pid = PyType_GenericAlloc(<PyTypeObject*>Temporary, 0)
    if not isinstance(at, PID):
        raise TypeError(f"expected a PID, got {at!r}")
    put(pid, _IP, get(at, _IP))
    put(pid, _PORT, get(at, _PORT))
    put(pid, _ID, id_)
    put(pid, _ASKER, asker)
    put(pid, _NUMBER, number)
    return pid
