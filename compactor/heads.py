"""Request heads: the bytes from request line to blank line, parsed into one immutable ``Head``.

A head says everything that a receiver must know before and besides the body.  httptools judges
the syntax; what C++ libprocess accepts and httptools does not is put right before it looks
(line feeds alone, an empty ``Content-Length``, bytes above 0x7f in the target), and what would
leave the framing in doubt is refused here.
"""

from __future__ import annotations

import functools
import re
from typing import Any
from urllib.parse import urlsplit

import httptools

from compactor.errors import RemoteProtocolError
from compactor.pid import NOBODY, PID

CHUNKED = -1
"""The ``length`` of a head whose body comes in chunks."""

_VERSION = re.compile(rb"HTTP/([1-9])\.([0-9])")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_EMPTY_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(?=\r\n)", re.IGNORECASE)
_NOT_IN_TARGET = re.compile(rb"[\t\x80-\xff]")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_MAX_LENGTH_DIGITS = 19


class Head:
    """The head of one request; shared by all requests that repeat its bytes.

    Attributes:
        method: the HTTP method.
        path: the raw path of the target, without query and fragment.
        query: the raw query.
        headers: (lower-case name, value) in order of arrival.
        sender: who sent it, if it is a libprocess message, else None.
        wants_answer: whether the peer reads answers; one that calls itself ``libprocess/...``
            throws them away, and loses frames to a reset when one meets its closing socket.
        keep_alive: whether the connection stays open afterwards.
        length: bytes of the body, or ``CHUNKED``.
        gzip: whether the body must be inflated.
        is_link: whether it is another compactor's link frame.
    """

    __slots__ = (
        "gzip",
        "headers",
        "is_link",
        "keep_alive",
        "length",
        "method",
        "path",
        "query",
        "sender",
        "wants_answer",
    )

    method: str
    path: bytes
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    sender: PID | None
    wants_answer: bool
    keep_alive: bool
    length: int
    gzip: bool
    is_link: bool


class _Headers:
    """Collects what httptools finds; its names are httptools's."""

    def __init__(self) -> None:
        self.found: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.found.append((name.lower(), value.strip()))


def parse_head(block: bytes) -> Head:
    """Parse one head.

    Args:
        block: request line to blank line, both included, no blank lines before.

    Raises:
        RemoteProtocolError: it is not the head of a request, or its framing is ambiguous.
    """
    block = _BARE_LF.sub(b"\r\n", block)
    if b"\0" in block or block.count(b"\r") != block.count(b"\r\n"):
        raise RemoteProtocolError("NUL or a bare carriage return in the head")
    block = _EMPTY_LENGTH.sub(b"", block)
    line, _, fields = block.partition(b"\r\n")
    method, target, version = _split_request_line(line)
    headers = _parse_fields(b"%b %b %b\r\n%b" % (method, target, version, fields))
    last = dict(headers)

    head = Head()
    head.method = method.decode()
    head.path, head.query = _split_target(target)
    head.headers = headers
    head.length = _body_length(headers)
    head.gzip = last.get(b"content-encoding") == b"gzip"
    options = {option.strip() for option in last.get(b"connection", b"").lower().split(b",")}
    head.keep_alive = b"close" not in options
    if version.endswith(b".0"):
        head.keep_alive = head.keep_alive and b"keep-alive" in options
    agent = last.get(b"user-agent", b"")
    head.wants_answer = not agent.startswith(b"libprocess/")
    head.sender = None
    if head.method == "POST":
        sender = last.get(b"libprocess-from")
        if sender is None and not head.wants_answer:
            sender = agent[len(b"libprocess/") :]
        if sender is not None:
            head.sender = parse_sender(sender)
    head.is_link = head.sender is not None and b"compactor-link" in last
    return head


cached_head = functools.lru_cache(maxsize=4096)(parse_head)
"""``parse_head`` for heads of ordinary size: peers repeat theirs, and a head is immutable."""


def parse_sender(value: bytes) -> PID:
    """The sender in a header value: its first word, or ``NOBODY`` if that is no pid.

    libprocess delivers a message whose sender cannot be parsed, with the empty pid.
    """
    words = value.split(None, 1)
    if not words:
        return NOBODY
    try:
        return PID.from_string(words[0].decode())
    except ValueError:
        return NOBODY


def _split_request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    parts = line.split(b" ")
    if len(parts) != 3 or not parts[1] or not _VERSION.fullmatch(parts[2]):
        raise RemoteProtocolError(f"{line[:80]!r} is not an HTTP request line")
    if parts[0] == b"CONNECT":
        raise RemoteProtocolError("CONNECT is not served here", 405)
    return parts[0], parts[1], parts[2]


def _parse_fields(block: bytes) -> tuple[tuple[bytes, bytes], ...]:
    collector: Any = _Headers()
    parser = httptools.HttpRequestParser(collector)
    parser.set_dangerous_leniencies(lenient_headers=True, lenient_version=True)
    line, crlf, fields = block.partition(b"\r\n")
    try:
        parser.feed_data(_NOT_IN_TARGET.sub(b"x", line) + crlf + fields)
    except httptools.HttpParserUpgrade:
        pass  # not for us: C++ ignores the wish as well, and nothing follows in this block
    except httptools.HttpParserError as error:
        raise RemoteProtocolError(f"malformed request: {error}") from None
    return tuple(collector.found)


def _split_target(target: bytes) -> tuple[bytes, bytes]:
    target = target.partition(b"#")[0]
    path, _, query = target.partition(b"?")
    if not path.startswith(b"/"):
        path = urlsplit(path).path if b"://" in path else b""
    if not path.startswith(b"/"):
        raise RemoteProtocolError(f"the target {target[:80]!r} has no path")
    if _BAD_ESCAPE.search(query):
        raise RemoteProtocolError(f"bad percent escape in the query {query[:80]!r}")
    return path, query


def _body_length(headers: tuple[tuple[bytes, bytes], ...]) -> int:
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    lengths = [value for name, value in headers if name == b"content-length"]
    if codings:
        if lengths or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise RemoteProtocolError("the only transfer coding understood is plain 'chunked'")
        return CHUNKED
    if not lengths:
        return 0
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > _MAX_LENGTH_DIGITS:
        raise RemoteProtocolError("Content-Length is not one number")
    return int(lengths[0])
