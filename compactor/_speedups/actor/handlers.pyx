"""The C twin of ``compactor.actor.handlers``: ``handler_table``.

CPython numbers the states of a class: a class that was changed, or one of its bases, has another
number when it is used again, or none.  So one comparison tells what takes one of all attributes in
Python.
"""

from compactor.actor.handlers import TABLE_ATTRIBUTE
from compactor.actor.handlers import handler_table as _handler_table

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        unsigned long tp_flags
        unsigned int tp_version_tag
    unsigned long Py_TPFLAGS_VALID_VERSION_TAG


cdef inline unsigned int _version(cls) noexcept:
    cdef PyTypeObject* slots = <PyTypeObject*>cls
    return slots.tp_version_tag if slots.tp_flags & Py_TPFLAGS_VALID_VERSION_TAG else 0


cpdef object handler_table(cls):
    """The handlers of a process class as they are now; see ``compactor.actor.handlers``."""
    known = getattr(cls, TABLE_ATTRIBUTE, None)  # as any use, has an unnumbered class numbered
    cdef unsigned int version = _version(cls)
    if known is not None and version and known.version == version:
        return known.table
    table = _handler_table(cls)
    if version and version == _version(cls):  # another thread may change it meanwhile
        getattr(cls, TABLE_ATTRIBUTE).version = version
    return table
