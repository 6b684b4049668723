"""``BodyBuffer``: compactor.wire.body_buffer, with the bytes that a handler gets filled in place and never copied."""

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE


cdef class BodyBuffer:
    cdef bytes _bytes

    def __init__(self, Py_ssize_t size):
        self._bytes = PyBytes_FromStringAndSize(NULL, size)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        cdef bytes content = self._bytes
        PyBuffer_FillInfo(
            buffer, self, PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content), False, flags
        )

    def view(self):
        return memoryview(self)

    def take(self):
        return self._bytes


def bytes_of(list events, Py_ssize_t first, Py_ssize_t end):
    cdef Py_ssize_t index, size = 0
    for index in range(first + 1, end, 2):
        size += PyBytes_GET_SIZE(<bytes>events[index])
    return size
