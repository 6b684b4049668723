"""Request heads: the bytes from request line to blank line, parsed into one immutable ``Head``.

A head says everything that a receiver must know before and besides the body.  The request line is
judged here, the header fields in ``fields.py``; what C++ libprocess accepts and few others do is
put right first (line feeds alone, an empty ``Content-Length``).
"""

from __future__ import annotations

import functools
import re
from typing import Any

from compactor.errors import RemoteProtocolError
from compactor.pid import NOBODY, PID, TEMPORARY
from compactor.wire.browsers import Browser, browser_of
from compactor.wire.escapes import unescaped
from compactor.wire.fields import CHUNKED as CHUNKED
from compactor.wire.fields import (
    Fields,
    body_length,
    content_coding,
    joined,
    parse_fields,
    says_close,
    says_keep_alive,
)
from compactor.wire.notices import LINK_FIELD
from compactor.wire.preferences import takes_gzip

from ..pid import number_of_digits, temporary_of

METHODS = frozenset(
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH"
    b" SEARCH UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY"
    b" SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK".split()
)
"""The methods of http-parser, which C++ libprocess uses."""

ANSWERED = b"/__req_res__/"
"""How the path of an answer begins whose size says which ask it is for; nobody has that id."""
_ANSWER = b"/" + TEMPORARY.encode()
_ASKS, _ANSWERS = b"ar"
_NUMBERED = re.compile(rb"[0-9A-Fa-f]{1,15};([ar])=([0-9]{1,20})")  # a size line

_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_HOST = re.compile(rb"(?:\[[0-9A-Za-z:.%_~-]+\]|[!$%&-.0-9;=A-Z_a-z~]*)(?::[0-9]*)?")
_FIELD_BYTES = 256  # of a header field, besides its text: a pair, twice two strings, a dict entry

# Whatever looks at each byte of a head does so in C: a head may have 80 KiB.
_BARE_LF = re.compile(rb"(?<!\r)\n")
_LENGTH = b"\r\ncontent-length:"
_IN_AUTHORITY = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!$%&'()*+,-.:;=[]_~@"
)
_NOT_IN_TARGET = bytes({*range(0x21), 0x7F} - {0x09})


class Head:
    """The head of one request; shared by all requests that repeat its bytes.

    Attributes:
        method: the HTTP method.
        path: the raw path of the target, without query and fragment.
        query: the raw query.
        path_text, query_text: both as text, for routes.
        headers: (lower-case name, value) in order of arrival.
        fields: the same of a request, which has a head of its own.
        sender: who sent it, if it is a libprocess message, else None.
        wants_answer: whether the peer reads answers; one that calls itself ``libprocess/...``
            throws them away, and loses frames to a reset when one meets its closing socket.
        keep_alive: whether the connection stays open afterwards.
        connection: the line that says so in the answer, where it must be said.
        is_old: whether it is of HTTP/1.0.
        takes_gzip: whether the answer may be in gzip.
        expects: whether the client waits for ``100 Continue`` before it sends the body.
        length: bytes of the body, or ``CHUNKED``.
        coding: what the body must be inflated from, ``gzip`` or ``deflate``, or empty.
        is_link: whether it is another compactor's link frame.
        browser: what it says of the browser that sent it; None if none did.
        is_plain: whether it is a message that asks for no answer, no link, is not compressed, and
            from no browser, and not asked.
        is_special: whether a browser sent it, or its body is compressed.
        size: bytes of memory that it takes, roughly.
        answers: the number of the ask that it answers, if that stood behind a size; else None.
    """

    __slots__ = (
        "_late",
        "answers",
        "browser",
        "coding",
        "connection",
        "expects",
        "fields",
        "is_link",
        "is_old",
        "is_plain",
        "is_special",
        "keep_alive",
        "length",
        "method",
        "path",
        "path_text",
        "query",
        "query_text",
        "sender",
        "size",
        "takes_gzip",
        "wants_answer",
    )

    method: str
    path: bytes
    query: bytes
    path_text: str
    query_text: str
    fields: Fields
    _late: tuple[Any, bytes] | None  # what makes the headers of a number, once they are asked for
    sender: PID | None
    wants_answer: bool
    keep_alive: bool
    connection: bytes
    is_old: bool
    takes_gzip: bool
    expects: bool
    length: int
    coding: bytes
    is_link: bool
    browser: Browser | None
    is_plain: bool
    is_special: bool
    size: int
    answers: int | None

    @property
    def headers(self) -> Fields:
        if self._late is not None:
            family, number = self._late
            self.fields = family.headers(number)
            self._late = None
        return self.fields

    def copied(self) -> Head:
        """Another head that says the same, to be changed before anybody else has it."""
        head = Head.__new__(Head)
        head.method = self.method
        head.path = self.path
        head.query = self.query
        head.path_text = self.path_text
        head.query_text = self.query_text
        head.fields = self.fields
        head._late = self._late
        head.sender = self.sender
        head.wants_answer = self.wants_answer
        head.keep_alive = self.keep_alive
        head.connection = self.connection
        head.is_old = self.is_old
        head.takes_gzip = self.takes_gzip
        head.expects = self.expects
        head.length = self.length
        head.coding = self.coding
        head.is_link = self.is_link
        head.browser = self.browser
        head.is_plain = self.is_plain
        head.is_special = self.is_special
        head.size = self.size
        head.answers = None
        return head

    def numbered(self, kind: int, number: bytes) -> Head | None:
        """What a message of this head means that has the number of an ask.

        Args:
            kind: ``a`` asks, so its sender is the temporary pid of the number, at the same address;
                ``r`` answers, so it is for that pid.
            number: 1 to 20 digits.

        Returns:
            None if no such message has this head.
        """
        sender = self.sender
        if kind == _ASKS:
            if sender is None or sender is NOBODY:
                return None
            head = self.copied()
            head.sender = temporary_of(sender, number, sender if sender.id else None)
            head.is_plain = False
            return head
        if kind == _ANSWERS and sender is not None and self.path.startswith(ANSWERED):
            head = self.copied()
            rest = self.path[len(ANSWERED) :]
            rest_text = self.path_text[len(ANSWERED) :]
            head.path = _ANSWER + number + b")/" + rest
            head.path_text = "/" + TEMPORARY + number.decode("ascii") + ")/" + rest_text
            head.answers = number_of_digits(number)
            return head
        return None


def parse_head(block: bytes) -> Head:
    """Parse one head.

    Args:
        block: request line to blank line, both included, no blank lines before.

    Raises:
        RemoteProtocolError: it is not the head of a request, or its framing is ambiguous.
    """
    if block.count(b"\n") != block.count(b"\r\n"):
        block = _BARE_LF.sub(b"\r\n", block)
    if _LENGTH in (lowered := block.lower()):
        block = _without_empty_lengths(block, lowered)
    line, _, fields = block.partition(b"\r\n")
    method, target, version = _split_request_line(line)
    head = Head()
    head.answers = None
    head.method = method.decode()
    head.path, head.query = _split_target(target, method)
    head.path_text = head.path.decode("utf-8", "surrogateescape")
    head.query_text = head.query.decode("utf-8", "surrogateescape")
    try:
        head.fields = parse_fields(fields)
        head._late = None
        head.length = body_length(head.fields) or 0
    except ValueError as error:
        raise RemoteProtocolError(f"malformed request: {error}") from None
    head.size = len(block) + _FIELD_BYTES * len(head.fields)
    last = dict(head.fields)
    is_old = version.endswith(b".0")
    _set_connection(head, last, is_old)
    _set_sender(head, last, is_old)
    _set_body(head, last, is_old)
    head.is_special = bool(head.coding) or head.browser is not None
    head.is_plain = not (
        head.sender is None or head.wants_answer or head.is_link or head.is_special
    )
    if head.is_plain and head.sender is not None and head.sender.id.startswith(TEMPORARY):
        head.is_plain = False
    return head


def _set_connection(head: Head, last: dict[bytes, bytes], is_old: bool) -> None:
    """Whether the connection stays open, and what the answer has to say of that."""
    options = joined(head.fields, b"connection") if b"connection" in last else b""
    head.keep_alive = not says_close(options)
    head.is_old = is_old
    head.takes_gzip = False
    if b"accept-encoding" in last:
        head.takes_gzip = takes_gzip(joined(head.fields, b"accept-encoding").decode("latin-1"))
    if is_old:
        head.keep_alive = head.keep_alive and says_keep_alive(options)
    head.connection = b"Connection: close"
    if head.keep_alive:
        head.connection = b"Connection: keep-alive" if is_old else b""


def _set_sender(head: Head, last: dict[bytes, bytes], is_old: bool) -> None:
    """Whether it is a message or a request for a page, from whom, and if it is to be answered."""
    agent = last.get(b"user-agent", b"")
    head.wants_answer = not agent.startswith(b"libprocess/")
    head.sender = None
    if head.method == "POST":
        sender = last.get(b"libprocess-from")
        if sender is None and not head.wants_answer:
            sender = agent[len(b"libprocess/") :]
        if sender is not None:
            head.sender = parse_sender(sender)
    if head.sender is None:
        _check_host(head.fields, is_old)
    head.is_link = head.sender is not None and LINK_FIELD in last
    head.browser = browser_of(last)


def _set_body(head: Head, last: dict[bytes, bytes], is_old: bool) -> None:
    """How the body is coded, and whether the client waits to be asked for it."""
    head.coding = b""
    if b"content-encoding" in last:
        try:
            head.coding = content_coding(joined(head.fields, b"content-encoding"))
        except ValueError as error:
            raise RemoteProtocolError(str(error), 415) from None
    head.expects = False
    if b"expect" in last and not is_old and (head.sender is None or head.wants_answer):
        expected = joined(head.fields, b"expect")
        if expected.lower() != b"100-continue":
            raise RemoteProtocolError(
                f"the only expectation that can be met is 100-continue, not {expected[:80]!r}", 417
            )
        head.expects = True


cached_head = functools.lru_cache(maxsize=4096)(parse_head)
"""``parse_head`` for heads of ordinary size: peers repeat theirs, and a head is immutable."""


def numbered_head(head: Head, line: bytes) -> Head:
    """What a message means that begins with a head and then that size line.

    The number of an ask counts if it is the only extension, of plain digits, and the head is one of
    a message.  Whatever else stands behind a size is ignored, as HTTP asks.
    """
    found = _NUMBERED.fullmatch(line)
    return (head.numbered(found[1][0], found[2]) if found else None) or head


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
    if not parts[2].startswith(b"HTTP/1."):
        raise RemoteProtocolError(f"HTTP/1.1 is spoken here, not {parts[2].decode()}", 505)
    if parts[0] == b"CONNECT":
        raise RemoteProtocolError("CONNECT is not served here", 405)
    return parts[0], parts[1], parts[2]


def _without_empty_lengths(block: bytes, lowered: bytes) -> bytes:
    """The head without lines that say ``Content-Length:`` and nothing more."""
    kept = []
    begin, at = 0, lowered.find(_LENGTH)
    while at >= 0:
        end = block.index(b"\r\n", at + 2)
        is_empty = not block[at + len(_LENGTH) : end].strip(b" \t")
        if is_empty and block[end + 2 : end + 3] not in (b" ", b"\t"):
            kept.append(block[begin:at])
            begin = end
        at = lowered.find(_LENGTH, end)
    return b"".join([*kept, block[begin:]]) if kept else block


def _check_host(fields: Fields, is_old: bool) -> None:
    """Refuse a request that leaves in doubt what it is for; messages name their process."""
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or not (hosts or is_old):
        raise RemoteProtocolError(f"a request has one Host, not {len(hosts)}")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise RemoteProtocolError(f"{hosts[0][:80]!r} is no Host")


def _split_target(target: bytes, method: bytes) -> tuple[bytes, bytes]:
    if target == b"*" and method == b"OPTIONS":
        return target, b""  # what a request for the server as a whole names
    path, _, query = target.partition(b"#")[0].partition(b"?")
    is_plain = path.startswith(b"/")
    if not is_plain:
        scheme, _, rest = path.partition(b"://")
        authority, slash, path = rest.partition(b"/")
        path = slash + path
        is_plain = bool(slash) and scheme.isalpha() and authority.count(b"@") <= 1
        is_plain = is_plain and not authority.translate(None, _IN_AUTHORITY)
    if not is_plain or len(target.translate(None, _NOT_IN_TARGET)) < len(target):
        raise RemoteProtocolError(f"{target[:80]!r} is no target with a path")
    try:
        unescaped(query)
    except ValueError:
        raise RemoteProtocolError(f"bad percent escape in the query {query[:80]!r}") from None
    return path, query
