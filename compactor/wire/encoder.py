"""Values to wire bytes: libprocess message frames and HTTP responses.  Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeAlias

from compactor.errors import LocalProtocolError
from compactor.pid import PID, escape_id

CRLF = b"\r\n"

_LENGTHS = [b"%d\r\n\r\n" % size for size in range(512)]  # of bodies, at the end of a head

# Before a body: the last header of its message, and its size.
_BEFORE_BODY = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n"
_BEFORE_SMALL = [_BEFORE_BODY % size for size in range(512)]
_LAST_CHUNK = b"\r\n0\r\n\r\n"

Body: TypeAlias = bytes | bytearray | memoryview
"""What can be sent; the receiver is given ``bytes``."""

# Nobody decodes names, so what would need an escape cannot be sent at all.
_FORBIDDEN_IN_NAME = re.compile(r"[^!-~]|[?#]")
_checked_names: set[str] = set()  # names that passed: a program sends few, over and over


def check_name(name: object) -> str:
    """Return ``name``, as a plain ``str``, if a message of that name can be sent.

    Raises:
        TypeError: it is not a ``str``.
        LocalProtocolError: it is empty or has characters that cannot stand in a request line.
    """
    if not isinstance(name, str):
        raise TypeError(f"a message name must be a str, got {name!r}")
    name = str.__str__(name)  # str() and f-strings print a member of a str Enum otherwise
    if name in _checked_names:
        return name
    found = _FORBIDDEN_IN_NAME.search(name)
    if found:
        raise LocalProtocolError(f"message name {name!r} must not contain {found.group()!r}")
    if not name:
        raise LocalProtocolError("a message name must not be empty")
    if len(_checked_names) < 4096:
        _checked_names.add(name)
    return name


def message_path(id_: str, name: str) -> str:
    """The request target of a message: ``/id/name``, the id escaped where it must be."""
    return f"/{escape_id(id_)}/{name}" if id_ else f"/{name}"


class TypedName(str):
    """The name of messages whose bytes are of a content type, which their head tells.

    Attributes:
        plain: the name alone.
        content_type: e.g. ``application/json``.
        key: tells it from names of raw bytes, which cannot contain a blank.
    """

    __slots__ = ("content_type", "key", "plain")

    plain: str
    content_type: str
    key: str

    def __new__(cls, plain: str, content_type: str) -> TypedName:
        name = super().__new__(cls, plain)
        name.plain = plain
        name.content_type = content_type
        name.key = f"{plain} {content_type}"
        return name


def message_prefix(sender: PID, to: PID, name: str) -> bytes:
    """Everything of a message frame that does not depend on its body.

    The frame is that of libprocess after Mesos 1.11::

        POST /server(1)/ping HTTP/1.1
        User-Agent: libprocess/client(1)@192.0.2.7:5050
        Libprocess-From: client(1)@192.0.2.7:5050
        Connection: Keep-Alive
        Host: 192.0.2.8:5050

    Args:
        sender, to: the two pids.
        name: a name that ``check_name`` let pass; a ``TypedName`` adds a ``Content-Type``.
    """
    typed = f"Content-Type: {name.content_type}\r\n" if type(name) is TypedName else ""
    return (
        f"POST {message_path(to.id, name)} HTTP/1.1\r\n"
        f"User-Agent: libprocess/{sender}\r\n"
        f"Libprocess-From: {sender}\r\n"
        "Connection: Keep-Alive\r\n"
        f"Host: {to.host}\r\n"
        f"{typed}"
    ).encode()


def encode_message(prefix: bytes, body: bytes) -> bytes:
    """One whole message frame.

    Args:
        prefix: what ``message_prefix`` returned.
        body: sent as exactly one chunk, as C++ does; no framing header at all when empty.
    """
    size = len(body)
    if not size:
        return prefix + CRLF
    before = _BEFORE_SMALL[size] if size < 512 else _BEFORE_BODY % size
    return b"".join((prefix, before, body, _LAST_CHUNK))


def append_message(buffer: bytearray, prefix: bytes, body: bytes) -> int:
    """Add one whole message frame to a buffer; return its size."""
    size = len(body)
    if size and size < 512:
        frame = b"".join((prefix, _BEFORE_SMALL[size], body, _LAST_CHUNK))  # saves a call
    else:
        frame = encode_message(prefix, body)
    buffer += frame
    return len(frame)


def encode_numbered(prefix: bytes, kind: bytes, number: int, body: bytes) -> bytes:
    """One whole message frame, with the number of an ask behind the size of its one chunk.

    Args:
        prefix: what ``message_prefix`` returned.
        kind: ``a`` if it asks, ``r`` if it answers.
        number: below 2 to the power of 63.
        body: an empty one makes a chunk, too: the last.
    """
    before = b"Transfer-Encoding: chunked\r\n\r\n%x;%b=%d\r\n" % (len(body), kind, number)
    return b"".join((prefix, before, body, _LAST_CHUNK if body else CRLF))


def append_numbered(buffer: bytearray, prefix: bytes, kind: bytes, number: int, body: bytes) -> int:
    """Add one such frame to a buffer; return its size."""
    frame = encode_numbered(prefix, kind, number, body)
    buffer += frame
    return len(frame)


new_buffer = bytearray
"""An empty buffer for frames; in C, its memory may be that of an earlier one."""


def reuse(buffer: object) -> None:
    """Let ``new_buffer`` have the memory of a buffer; Python has no way to."""


def message_parts(prefix: bytes, body: bytes) -> tuple[bytes, bytes, bytes]:
    """The frame of a message with a body, in parts, which takes no copy of the body."""
    return prefix + _BEFORE_BODY % len(body), body, _LAST_CHUNK


def encode_response(
    status_line: bytes,
    date: bytes,
    headers: Iterable[bytes],
    body: bytes,
) -> bytes:
    """One whole HTTP response.

    Args:
        status_line: e.g. ``b"HTTP/1.1 200 OK"``.
        date: the value of the ``Date`` header.
        headers: lines such as ``b"Content-Type: text/plain"``; ``Content-Length`` is added.
        body: the content.
    """
    length = b"Content-Length: %d" % len(body)
    return encode_head(status_line, date, (*headers, length)) + body


def encode_body(head: bytes, body: bytes) -> bytes:
    """One whole HTTP response, of a head that ends in ``Content-Length: ``, and its body."""
    size = len(body)
    return head + (_LENGTHS[size] if size < len(_LENGTHS) else b"%d\r\n\r\n" % size) + body


def encode_head(status_line: bytes, date: bytes, headers: Iterable[bytes]) -> bytes:
    """The head of a response, which is all of it where no body follows."""
    return CRLF.join([status_line, b"Date: " + date, *headers, CRLF])


def content_of(body: Any) -> bytes:
    """The bytes of what was given as a body; None has none.

    Raises:
        TypeError: it is no sequence of bytes.
    """
    if body is None:
        return b""
    if not isinstance(body, (bytes, bytearray, memoryview)):
        help_ = "; encode it, as by text.encode()" if isinstance(body, str) else ""
        raise TypeError(f"Body must be a sequence of bytes, got {body!r}{help_}")
    return bytes(body)
