"""The C twin of ``compactor.pid``: ``pid_of``, ``temporary_of``."""

from cpython.object cimport PyObject_GenericSetAttr

from compactor.pid import PID, Temporary

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


cpdef object temporary_of(at, bytes number, asker):
    """The temporary pid of a number, at the address of another pid; see ``compactor.pid``."""
    cdef object pid = PyType_GenericAlloc(<PyTypeObject*>Temporary, 0)
    PyObject_GenericSetAttr(pid, "ip", at.ip)
    PyObject_GenericSetAttr(pid, "port", at.port)
    PyObject_GenericSetAttr(pid, "id", "__req_res__(" + number.decode("ascii") + ")")
    PyObject_GenericSetAttr(pid, "asker", asker)
    return pid
