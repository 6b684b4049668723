"""The C twin of ``compactor.frames``: messages and responses to bytes."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

cdef bytes CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
cdef bytes LAST_CHUNK = b"\r\n0\r\n\r\n"
cdef const char* DIGITS = b"0123456789abcdef"


cdef inline char* _put(char* at, bytes data) noexcept:
    memcpy(at, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return at + PyBytes_GET_SIZE(data)


cpdef bytes encode_message(bytes prefix, bytes body):
    """One whole message frame; see ``compactor.frames``."""
    if prefix is None or body is None:
        raise TypeError("a frame is made of bytes, not None")
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    if size == 0:
        return prefix + b"\r\n"
    cdef int digits = 1
    cdef Py_ssize_t rest = size >> 4
    while rest:
        digits += 1
        rest >>= 4
    cdef bytes frame = PyBytes_FromStringAndSize(
        NULL,
        PyBytes_GET_SIZE(prefix) + PyBytes_GET_SIZE(CHUNKED) + digits + 2 + size
        + PyBytes_GET_SIZE(LAST_CHUNK),
    )
    cdef char* at = _put(_put(PyBytes_AS_STRING(frame), prefix), CHUNKED)
    cdef int digit
    rest = size
    for digit in range(digits - 1, -1, -1):
        at[digit] = DIGITS[rest & 15]
        rest >>= 4
    at += digits
    at[0] = b"\r"
    at[1] = b"\n"
    _put(_put(at + 2, body), LAST_CHUNK)
    return frame


cpdef tuple message_parts(bytes prefix, bytes body):
    """The frame of a message with a body, in parts; see ``compactor.frames``."""
    if prefix is None or body is None:
        raise TypeError("a frame is made of bytes, not None")
    return b"%b%b%x\r\n" % (prefix, CHUNKED, PyBytes_GET_SIZE(body)), body, LAST_CHUNK


cpdef bytes encode_response(
    bytes status_line, bytes date, object headers, bytes body, bint head_only=False
):
    """One whole HTTP response; see ``compactor.frames``."""
    if status_line is None or date is None or body is None:
        raise TypeError("a response is made of bytes, not None")
    cdef list parts = [status_line, b"\r\nDate: ", date]
    for name, value in headers:
        parts.append(b"\r\n")
        parts.append(name)
        parts.append(b": ")
        parts.append(value)
    parts.append(b"\r\nContent-Length: %d\r\n\r\n" % PyBytes_GET_SIZE(body))
    if not head_only:
        parts.append(body)
    return b"".join(parts)
