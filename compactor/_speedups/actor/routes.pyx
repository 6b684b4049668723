"""The C twin of ``compactor.actor.routes``: ``split_path`` and ``match_route``.

What is not plainly ``bytes`` or ``str`` is left to ``compactor.actor.routes``, so both take and refuse
the same.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8

from compactor.actor import routes as _python
from compactor.errors import RemoteProtocolError


cdef Py_ssize_t LONG = 256  # characters of a path


cdef inline int _hex(char digit) noexcept:
    if c"0" <= digit <= c"9":
        return digit - c"0"
    if c"a" <= digit <= c"f":
        return digit - c"a" + 10
    if c"A" <= digit <= c"F":
        return digit - c"A" + 10
    return -1


cpdef object split_path(path):
    """Split ``/id/rest`` into the decoded id and the raw rest; see ``compactor.actor.routes``."""
    if type(path) is not bytes:
        return _python.split_path(path)
    cdef const char* data = PyBytes_AS_STRING(path)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(path)
    cdef Py_ssize_t stop = 1
    cdef Py_ssize_t length = 0
    cdef Py_ssize_t at
    cdef int high, low
    cdef bint is_plain = True
    while stop < size and data[stop] != c"/":
        if data[stop] == c"%" or data[stop] == c"+":
            is_plain = False
        stop += 1
    if size == 0:
        return "", ""
    rest = PyUnicode_DecodeUTF8(data + stop + 1, size - stop - 1, "surrogateescape") if stop + 1 < size else ""
    if is_plain:
        return PyUnicode_DecodeUTF8(data + 1, stop - 1, "surrogateescape"), rest
    cdef bytes decoded = PyBytes_FromStringAndSize(NULL, stop - 1)
    cdef char* out = PyBytes_AS_STRING(decoded)
    at = 1
    while at < stop:
        if data[at] == c"%":
            high = _hex(data[at + 1]) if at + 1 < stop else -1
            low = _hex(data[at + 2]) if at + 2 < stop else -1
            if high < 0 or low < 0:
                raise RemoteProtocolError(
                    f"bad percent escape in the process id {path[1:stop][:80]!r}"
                )
            out[length] = <char>(high * 16 + low)
            at += 3
        else:
            out[length] = c" " if data[at] == c"+" else data[at]
            at += 1
        length += 1
    return PyUnicode_DecodeUTF8(out, length, "surrogateescape"), rest


cpdef object match_route(routes, rest):
    """The route for what follows the id; see ``compactor.actor.routes``."""
    if type(rest) is not str:
        return _python.match_route(routes, rest)
    cdef str path = "/" + (<str>rest).strip("/")
    if len(path) > LONG and path not in routes:
        # No longer than any route, or each of its 40,000 parts would be a path of its own.
        path = path[: max(map(len, routes), default=0) + 1]
    while path not in routes:
        path = path.rpartition("/")[0]
        if not path:
            return None
    return path, routes[path]
