"""The C twin of ``compactor.wire.encoder``: messages and responses to bytes.

What is not plainly ``bytes`` is left to ``compactor.wire.encoder``, so both take and refuse the same.
"""

from cpython.bytearray cimport (
    PyByteArray_AS_STRING,
    PyByteArray_GET_SIZE,
    PyByteArray_Resize,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from compactor.wire import encoder as _python

cdef extern from "Python.h":
    ctypedef struct PyByteArrayObject:
        Py_ssize_t ob_alloc
        Py_ssize_t ob_exports
        char* ob_bytes
        char* ob_start

    Py_ssize_t Py_REFCNT(object it)
    void Py_SET_SIZE(object it, Py_ssize_t size)

cdef extern from *:
    """
    #define COMPACTOR_AS_TEXT(name) #name
    #define COMPACTOR_TEXT_OF(macro) COMPACTOR_AS_TEXT(macro)
    """
    const char* _SOURCES "COMPACTOR_TEXT_OF(COMPACTOR_SOURCES)"

SOURCES = _SOURCES.decode("ascii")  # the digest of what all extensions were built from

cdef bytes CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
cdef bytes LAST_CHUNK = b"\r\n0\r\n\r\n"
cdef Py_ssize_t MOST_REUSED = 16  # buffers of about half a MiB: 8 MiB of a program, at most
cdef Py_ssize_t MAX_REUSED = 1024 * 1024
cdef const char* DIGITS = b"0123456789abcdef"


cdef inline Py_ssize_t _capacity(bytearray buffer) noexcept:
    cdef PyByteArrayObject* fields = <PyByteArrayObject*>buffer
    return fields.ob_alloc - 1 - (fields.ob_start - fields.ob_bytes)


cdef inline void _set_size(bytearray buffer, Py_ssize_t size) noexcept:
    """Within its capacity, all of which it keeps: ``PyByteArray_Resize`` frees what is unused."""
    Py_SET_SIZE(buffer, size)
    PyByteArray_AS_STRING(buffer)[size] = 0


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
    """One whole message frame; see ``compactor.wire.encoder``."""
    if type(prefix) is not bytes or type(body) is not bytes:
        return _python.encode_message(prefix, body)
    cdef bytes frame = PyBytes_FromStringAndSize(
        NULL, _frame_size(<bytes>prefix, <bytes>body)
    )
    _write_frame(PyBytes_AS_STRING(frame), <bytes>prefix, <bytes>body)
    return frame


cpdef Py_ssize_t append_message(buffer, prefix, body) except -1:
    """Add one whole message frame to a buffer; see ``compactor.wire.encoder``."""
    if (
        type(buffer) is not bytearray
        or type(prefix) is not bytes
        or type(body) is not bytes
    ):
        return _python.append_message(buffer, prefix, body)
    cdef Py_ssize_t size = _frame_size(<bytes>prefix, <bytes>body)
    _write_frame(_room_for(<bytearray>buffer, size), <bytes>prefix, <bytes>body)
    return size


cpdef Py_ssize_t append_numbered(
    buffer, prefix, bytes kind, unsigned long long number, body
) except -1:
    """Add one whole message frame with the number of an ask; see ``compactor.wire.encoder``."""
    if (
        type(buffer) is not bytearray
        or type(prefix) is not bytes
        or type(body) is not bytes
    ):
        return _python.append_numbered(buffer, prefix, kind, number, body)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(<bytes>body)
    cdef Py_ssize_t total = (
        PyBytes_GET_SIZE(<bytes>prefix) + PyBytes_GET_SIZE(CHUNKED) + _digits(size) + 3
        + _decimals(number) + 2 + size + (PyBytes_GET_SIZE(LAST_CHUNK) if size else 2)
    )
    cdef char* at = _put(_room_for(<bytearray>buffer, total), <bytes>prefix)
    at = _put_size(_put(at, CHUNKED), size)
    at[0] = c";"
    at[1] = PyBytes_AS_STRING(kind)[0]
    at[2] = c"="
    at = _put_decimals(at + 3, number)
    at[0] = c"\r"
    at[1] = c"\n"
    at = _put(at + 2, <bytes>body)
    if size:
        _put(at, LAST_CHUNK)
    else:
        at[0] = c"\r"
        at[1] = c"\n"
    return total


cdef inline char* _put_size(char* at, Py_ssize_t size) noexcept:
    cdef Py_ssize_t digits = _digits(size)
    cdef Py_ssize_t digit
    for digit in range(digits - 1, -1, -1):
        at[digit] = DIGITS[size & 15]
        size >>= 4
    return at + digits


cdef inline Py_ssize_t _decimals(unsigned long long number) noexcept:
    cdef Py_ssize_t decimals = 1
    while number >= 10:
        decimals += 1
        number //= 10
    return decimals


cdef inline char* _put_decimals(char* at, unsigned long long number) noexcept:
    cdef Py_ssize_t decimals = _decimals(number)
    cdef Py_ssize_t digit
    for digit in range(decimals - 1, -1, -1):
        at[digit] = c"0" + <char>(number % 10)
        number //= 10
    return at + decimals


cdef inline char* _room_for(bytearray buffer, Py_ssize_t size) except NULL:
    """Make a buffer that much larger; return where the new bytes go."""
    cdef Py_ssize_t before = PyByteArray_GET_SIZE(buffer)
    cdef Py_ssize_t after = before + size
    if after <= _capacity(buffer) and not (<PyByteArrayObject*>buffer).ob_exports:
        _set_size(buffer, after)
    else:
        # A bytearray by itself grows by an eighth, which would copy each byte eight times.
        if before:
            PyByteArray_Resize(buffer, 2 * after)
        PyByteArray_Resize(buffer, after)
    return PyByteArray_AS_STRING(buffer) + before


# A burst fills and frees blocks by the megabyte.  What malloc has given back to the system comes
# cleared from there, page by page, when the next burst wants it, which costs more than the frames.
cdef list _written = []  # buffers that a transport was given, oldest first


cpdef object new_buffer():
    """An empty buffer for frames; its memory may be that of an earlier one."""
    if not _written or Py_REFCNT(_written[0]) != 2:  # the list's and this one: no transport's
        return bytearray()
    cdef bytearray buffer = _written.pop(0)
    _set_size(buffer, 0)
    return buffer


cpdef object reuse(buffer):
    """Let ``new_buffer`` have the memory of a buffer, once nobody holds it any more."""
    if type(buffer) is bytearray and 0 < _capacity(<bytearray>buffer) <= MAX_REUSED:
        _written.append(buffer)
        if len(_written) > MOST_REUSED:
            del _written[0]


cpdef object encode_numbered(prefix, kind, number, body):
    """One whole frame with the number of an ask; see ``compactor.wire.encoder``."""
    return _python.encode_numbered(prefix, kind, number, body)


cpdef object message_parts(prefix, body):
    """The frame of a message with a body, in parts; see ``compactor.wire.encoder``."""
    if type(prefix) is not bytes or type(body) is not bytes:
        return _python.message_parts(prefix, body)
    return b"%b%b%x\r\n" % (prefix, CHUNKED, PyBytes_GET_SIZE(body)), body, LAST_CHUNK


cpdef object encode_response(status_line, date, headers, body):
    """One whole HTTP response; see ``compactor.wire.encoder``."""
    if (
        type(status_line) is not bytes
        or type(date) is not bytes
        or type(headers) is not list
        or type(body) is not bytes
    ):
        return _python.encode_response(status_line, date, headers, body)
    cdef list parts = [status_line, b"\r\nDate: ", date]
    for line in <list>headers:
        if type(line) is not bytes:
            return _python.encode_response(status_line, date, headers, body)
        parts.append(b"\r\n")
        parts.append(line)
    parts.append(b"\r\nContent-Length: %d\r\n\r\n" % PyBytes_GET_SIZE(body))
    parts.append(body)
    return b"".join(parts)


cpdef object encode_body(head, body):
    """One whole HTTP response of a head and a body; see ``compactor.wire.encoder``."""
    if type(head) is not bytes or type(body) is not bytes:
        return _python.encode_body(head, body)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    cdef Py_ssize_t digits = 1
    cdef Py_ssize_t rest = size
    while rest >= 10:
        digits += 1
        rest //= 10
    cdef bytes response = PyBytes_FromStringAndSize(
        NULL, PyBytes_GET_SIZE(head) + digits + 4 + size
    )
    cdef char* at = _put(PyBytes_AS_STRING(response), <bytes>head)
    rest = size
    cdef Py_ssize_t digit
    for digit in range(digits - 1, -1, -1):
        at[digit] = c"0" + rest % 10
        rest //= 10
    memcpy(at + digits, b"\r\n\r\n", 4)
    _put(at + digits + 4, <bytes>body)
    return response
