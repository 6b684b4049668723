"""The C twin of ``compactor.frames``: messages and responses to bytes.

What is not plainly ``bytes`` is left to ``compactor.frames``, so both take and refuse the same.
"""

from cpython.bytearray cimport (
    PyByteArray_AS_STRING,
    PyByteArray_GET_SIZE,
    PyByteArray_Resize,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from compactor import frames as _python

cdef extern from "Python.h":
    ctypedef struct PyByteArrayObject:
        Py_ssize_t ob_alloc

cdef extern from *:
    """
    #define COMPACTOR_AS_TEXT(name) #name
    #define COMPACTOR_TEXT_OF(macro) COMPACTOR_AS_TEXT(macro)
    """
    const char* _SOURCES "COMPACTOR_TEXT_OF(COMPACTOR_SOURCES)"

SOURCES = _SOURCES.decode("ascii")  # the digest of what all extensions were built from

cdef bytes CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
cdef bytes LAST_CHUNK = b"\r\n0\r\n\r\n"
cdef const char* DIGITS = b"0123456789abcdef"


cdef inline Py_ssize_t _capacity(bytearray buffer) noexcept:
    return (<PyByteArrayObject*>buffer).ob_alloc - 1


cdef inline char* _put(char* at, bytes data) noexcept:
    memcpy(at, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return at + PyBytes_GET_SIZE(data)


cdef inline Py_ssize_t _digits(Py_ssize_t number) noexcept:
    cdef Py_ssize_t digits = 1
    while number >= 16:
        digits += 1
        number >>= 4
    return digits


cdef inline Py_ssize_t _frame_size(bytes prefix, bytes body) noexcept:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    if size == 0:
        return PyBytes_GET_SIZE(prefix) + 2
    return (
        PyBytes_GET_SIZE(prefix) + PyBytes_GET_SIZE(CHUNKED) + _digits(size) + 2 + size
        + PyBytes_GET_SIZE(LAST_CHUNK)
    )


cdef inline void _write_frame(char* at, bytes prefix, bytes body) noexcept:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    cdef Py_ssize_t digit
    at = _put(at, prefix)
    if size == 0:
        at[0] = c"\r"
        at[1] = c"\n"
        return
    at = _put(at, CHUNKED)
    cdef Py_ssize_t digits = _digits(size)
    for digit in range(digits - 1, -1, -1):
        at[digit] = DIGITS[size & 15]
        size >>= 4
    at += digits
    at[0] = c"\r"
    at[1] = c"\n"
    _put(_put(at + 2, body), LAST_CHUNK)


cpdef object encode_message(prefix, body):
    """One whole message frame; see ``compactor.frames``."""
    if type(prefix) is not bytes or type(body) is not bytes:
        return _python.encode_message(prefix, body)
    cdef bytes frame = PyBytes_FromStringAndSize(
        NULL, _frame_size(<bytes>prefix, <bytes>body)
    )
    _write_frame(PyBytes_AS_STRING(frame), <bytes>prefix, <bytes>body)
    return frame


cpdef object append_message(buffer, prefix, body):
    """Add one whole message frame to a buffer; see ``compactor.frames``."""
    if (
        type(buffer) is not bytearray
        or type(prefix) is not bytes
        or type(body) is not bytes
    ):
        return _python.append_message(buffer, prefix, body)
    cdef Py_ssize_t before = PyByteArray_GET_SIZE(buffer)
    cdef Py_ssize_t size = _frame_size(<bytes>prefix, <bytes>body)
    cdef Py_ssize_t after = before + size
    # A bytearray by itself grows by an eighth, which would copy each byte eight times.
    if before and after > _capacity(<bytearray>buffer):
        PyByteArray_Resize(buffer, 2 * after)
    PyByteArray_Resize(buffer, after)
    _write_frame(PyByteArray_AS_STRING(buffer) + before, <bytes>prefix, <bytes>body)
    return size


cpdef object message_parts(prefix, body):
    """The frame of a message with a body, in parts; see ``compactor.frames``."""
    if type(prefix) is not bytes or type(body) is not bytes:
        return _python.message_parts(prefix, body)
    return b"%b%b%x\r\n" % (prefix, CHUNKED, PyBytes_GET_SIZE(body)), body, LAST_CHUNK


cpdef object encode_response(status_line, date, headers, body, head_only=False):
    """One whole HTTP response; see ``compactor.frames``."""
    if (
        type(status_line) is not bytes
        or type(date) is not bytes
        or type(headers) is not list
        or type(body) is not bytes
    ):
        return _python.encode_response(status_line, date, headers, body, head_only)
    cdef list parts = [status_line, b"\r\nDate: ", date]
    for line in <list>headers:
        if type(line) is not bytes:
            return _python.encode_response(status_line, date, headers, body, head_only)
        parts.append(b"\r\n")
        parts.append(line)
    parts.append(b"\r\nContent-Length: %d\r\n\r\n" % PyBytes_GET_SIZE(body))
    if not head_only:
        parts.append(body)
    return b"".join(parts)
