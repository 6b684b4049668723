"""The C twin of ``compactor.frames``: messages and responses to bytes."""

from cpython.bytearray cimport (
    PyByteArray_AS_STRING,
    PyByteArray_GET_SIZE,
    PyByteArray_Resize,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

cdef extern from "Python.h":
    ctypedef struct PyByteArrayObject:
        Py_ssize_t ob_alloc

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


cpdef bytes encode_message(bytes prefix, bytes body):
    """One whole message frame; see ``compactor.frames``."""
    if prefix is None or body is None:
        raise TypeError("a frame is made of bytes, not None")
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, _frame_size(prefix, body))
    _write_frame(PyBytes_AS_STRING(frame), prefix, body)
    return frame


cpdef Py_ssize_t append_message(bytearray buffer, bytes prefix, bytes body) except -1:
    """Add one whole message frame to a buffer; see ``compactor.frames``."""
    if buffer is None or prefix is None or body is None:
        raise TypeError("a frame is made of bytes, and appended to a bytearray, not None")
    cdef Py_ssize_t before = PyByteArray_GET_SIZE(buffer)
    cdef Py_ssize_t size = _frame_size(prefix, body)
    cdef Py_ssize_t after = before + size
    # A bytearray by itself grows by an eighth, which would copy each byte eight times.
    if before and after > _capacity(buffer):
        PyByteArray_Resize(buffer, 2 * after)
    PyByteArray_Resize(buffer, after)
    _write_frame(PyByteArray_AS_STRING(buffer) + before, prefix, body)
    return size


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
    for line in headers:
        parts.append(b"\r\n")
        parts.append(line)
    parts.append(b"\r\nContent-Length: %d\r\n\r\n" % PyBytes_GET_SIZE(body))
    if not head_only:
        parts.append(body)
    return b"".join(parts)
