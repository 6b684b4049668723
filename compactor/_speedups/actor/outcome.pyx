"""The C twin of ``compactor.actor.outcome``: as futures of asyncio end."""

cdef extern from *:
    """
    static void set_result(PyObject* result) {
        if (PyTuple_Check(result) || PyExceptionInstance_Check(result)) {
            /* which would be taken for the arguments of the exception, or for itself */
            PyObject* stop = PyObject_CallFunctionObjArgs(PyExc_StopIteration, result, NULL);
            if (stop != NULL) {
                PyErr_SetObject(PyExc_StopIteration, stop);
                Py_DECREF(stop);
            }
        } else {
            PyErr_SetObject(PyExc_StopIteration, result);
        }
    }
    """
    void set_result(object result) noexcept


cpdef void end_with(result) noexcept:
    """Have ``__next__`` end with a result; see ``compactor.actor.outcome``."""
    set_result(result)
