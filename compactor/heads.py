"""Request heads: the bytes from request line to blank line, parsed into one immutable ``Head``.

A head says everything that a receiver must know before and besides the body.  The request line is
judged here, the header fields in ``fields.py``; what C++ libprocess accepts and few others do is
put right first (line feeds alone, an empty ``Content-Length``).
"""

from __future__ import annotations

import functools
import re

from compactor.errors import RemoteProtocolError
from compactor.fields import CHUNKED as CHUNKED
from compactor.fields import Fields, body_length, parse_fields
from compactor.pid import NOBODY, PID

METHODS = frozenset(
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH"
    b" SEARCH UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY"
    b" SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK".split()
)
"""The methods of http-parser, which C++ libprocess uses."""

_VERSION = re.compile(rb"HTTP/[1-9]\.[0-9]")
_FIELD_BYTES = 256  # of a header field, besides its text: a pair, twice two strings, a dict entry

_BARE_LF = re.compile(rb"(?<!\r)\n")
_EMPTY_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(?=\r\n(?![ \t]))", re.IGNORECASE)
_IN_HOST = rb"[!$-.0-;=A-\[\]_a-z~]*"
_TARGET = re.compile(
    rb"(?:[A-Za-z]+://" + _IN_HOST + rb"(?:@" + _IN_HOST + rb")?)?"
    rb"(/[^?#]*)(?:\?([^#]*))?(?:#.*)?"
)
_NOT_IN_TARGET = re.compile(rb"[\0-\x08\x0a-\x20\x7f]")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Head:
    """The head of one request; shared by all requests that repeat its bytes.

    Attributes:
        method: the HTTP method.
        path: the raw path of the target, without query and fragment.
        query: the raw query.
        path_text, query_text: both as text, for routes.
        headers: (lower-case name, value) in order of arrival.
        sender: who sent it, if it is a libprocess message, else None.
        wants_answer: whether the peer reads answers; one that calls itself ``libprocess/...``
            throws them away, and loses frames to a reset when one meets its closing socket.
        keep_alive: whether the connection stays open afterwards.
        length: bytes of the body, or ``CHUNKED``.
        gzip: whether the body must be inflated.
        is_link: whether it is another compactor's link frame.
        size: bytes of memory that it takes, roughly.
    """

    __slots__ = (
        "gzip",
        "headers",
        "is_link",
        "keep_alive",
        "length",
        "method",
        "path",
        "path_text",
        "query",
        "query_text",
        "sender",
        "size",
        "wants_answer",
    )

    method: str
    path: bytes
    query: bytes
    path_text: str
    query_text: str
    headers: Fields
    sender: PID | None
    wants_answer: bool
    keep_alive: bool
    length: int
    gzip: bool
    is_link: bool
    size: int


def parse_head(block: bytes) -> Head:
    """Parse one head.

    Args:
        block: request line to blank line, both included, no blank lines before.

    Raises:
        RemoteProtocolError: it is not the head of a request, or its framing is ambiguous.
    """
    block = _EMPTY_LENGTH.sub(b"", _BARE_LF.sub(b"\r\n", block))
    line, _, fields = block.partition(b"\r\n")
    method, target, version = _split_request_line(line)
    head = Head()
    head.method = method.decode()
    head.path, head.query = _split_target(target)
    head.path_text = head.path.decode("utf-8", "surrogateescape")
    head.query_text = head.query.decode("utf-8", "surrogateescape")
    try:
        head.headers = parse_fields(fields)
        head.length = body_length(head.headers) or 0
    except ValueError as error:
        raise RemoteProtocolError(f"malformed request: {error}") from None
    head.size = len(block) + _FIELD_BYTES * len(head.headers)
    last = dict(head.headers)
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
    if len(parts) != 3 or parts[0] not in METHODS or not _VERSION.fullmatch(parts[2]):
        raise RemoteProtocolError(f"{line[:80]!r} is not an HTTP request line")
    if parts[0] == b"CONNECT":
        raise RemoteProtocolError("CONNECT is not served here", 405)
    return parts[0], parts[1], parts[2]


def _split_target(target: bytes) -> tuple[bytes, bytes]:
    match = _TARGET.fullmatch(target)
    if match is None or _NOT_IN_TARGET.search(target):
        raise RemoteProtocolError(f"{target[:80]!r} is no target with a path")
    path, query = match[1], match[2] or b""
    if _BAD_ESCAPE.search(query):
        raise RemoteProtocolError(f"bad percent escape in the query {query[:80]!r}")
    return path, query
