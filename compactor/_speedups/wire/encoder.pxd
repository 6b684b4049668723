cpdef object encode_message(prefix, body)
cpdef Py_ssize_t append_message(buffer, prefix, body) except -1
cpdef Py_ssize_t append_numbered(
    buffer, prefix, bytes kind, unsigned long long number, body
) except -1
cpdef object new_buffer()
cpdef object reuse(buffer)
