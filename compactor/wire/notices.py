"""The link extension: what compactors ask each other, and tell, about processes that are linked.

Who links asks the peer for a stream of notices, on a connection of its own::

    GET /compactor.notices HTTP/1.1
    Libprocess-From: @192.0.2.7:40321
    Compactor-Notices: 5f0c...

The answer has no end.  Each line of it is a notice: a word, and values with percent escapes.  Of
which processes it is to tell is said by link frames, among the messages on the usual connection::

    POST /server(1)/compactor.link HTTP/1.1
    Libprocess-From: @192.0.2.7:40321
    Compactor-Link: 5f0c...

A link frame of no stream, with a chunk that has a number behind its size, asks whether such numbers
arrive: then the messages of asks need no heads of their own.

What C++ libprocess makes of both is told in docs/wire.md.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator

from compactor.errors import RemoteProtocolError
from compactor.pid import PID
from compactor.wire.encoder import message_path
from compactor.wire.escapes import escaped, unescaped_as_far_as_possible

PATH = b"/compactor.notices"
HEADER = b"Compactor-Notices"
"""In the request: the name of the stream, which its asker alone knows.  In the answer, by which it
shows that a compactor gave it: the longest time between two notices in seconds.
"""
LINK_HEADER = b"Compactor-Link"
"""In a link frame: the name of the stream on which to tell of the process.  In its answer:
``told``, for all news comes on that stream.
"""
FIELD = HEADER.lower()
LINK_FIELD = LINK_HEADER.lower()
"""Both headers by the names that parsed heads have."""
LINK_ANSWER = LINK_HEADER + b": told"
"""The header line of the answer to a link frame."""
NUMBERS_FIELD = b"compactor-numbers"
NUMBERS_ANSWER = b"Compactor-Numbers: arrive"
"""The same of one that had a number behind its size, as asks do: they are not lost on the way."""
REFUSED_SENDER = 403
"""The status, beside ``HEADER``, for who may not ask in the name of the sender that it gives."""

_LINK_NAME = "compactor.link"  # as of a message, for C++ takes a link frame for one

ALIVE = "alive"  #: nothing is new
LIVES = "lives"  #: id, mark: a process lives, the one that has this mark among all of its id
EXITED = "exited"  #: id, reason, perhaps the cause: a process has ended, or never was
REFUSED = "refused"  #: id, name, reason, perhaps id of the sender: a message was not taken
DRAINING = "draining"
"""With the id of a sender: what the next notice refuses was an ask, and was never handled.  Alone:
nothing that is asked from now on will be.
"""

NAME_BYTES = (16, 64)
"""How long the name of a stream may be."""

MAX_DETAIL = 500
"""Characters of the cause of a failure that are told, and taken."""

MAX_MARK = 128
"""Characters of a mark; one is kept for each link."""

_MAX_LINE = 1024 * 1024  # an id fits into the head of a request, and grows threefold when quoted
_MOST_VALUES = 4  # that a word has
_LONGEST_INTERVAL = 3600.0  # that is believed


def encode(word: str, *values: str) -> bytes:
    """One notice."""
    return f"{' '.join((word, *map(escaped, values)))}\n".encode()


def decode(line: bytes) -> list[str]:
    """The word of a notice and its values."""
    word, *values = line.split(b" ", _MOST_VALUES)
    found = [unescaped_as_far_as_possible(value) for value in values]
    return [word.decode("latin-1"), *(value.decode("utf-8", "surrogateescape") for value in found)]


def request(host: str, sender: object, name: str) -> bytes:
    """The request for the notices of a peer.

    Args:
        host: the peer's ``ip:port``.
        sender: a pid of the asking context.
        name: the name of the stream.
    """
    return (
        f"GET {PATH.decode()} HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        "User-Agent: compactor\r\n"
        f"Libprocess-From: {sender}\r\n"
        f"{HEADER.decode()}: {name}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()


def link_frame(sender: PID, to: PID, stream: str) -> bytes:
    """The frame that asks a compactor to tell of a process on a stream of notices.

    It is answered, as by its User-Agent its sender reads answers: a proxy would wait for one.

    Args:
        sender: a pid of this context.
        to: the process.
        stream: the name of the stream.
    """
    return (
        f"POST {message_path(to.id, _LINK_NAME)} HTTP/1.1\r\n"
        "User-Agent: compactor\r\n"
        f"Libprocess-From: {sender}\r\n"
        "Connection: Keep-Alive\r\n"
        f"Host: {to.host}\r\n"
        f"{LINK_HEADER.decode()}: {stream}\r\n\r\n"
    ).encode()


def numbers_prefix(sender: PID, to: PID) -> bytes:
    """The beginning of a link frame that links nothing; its answer says whether numbers arrive.

    Args:
        sender: a pid of this context.
        to: a pid of the other.
    """
    return link_frame(sender, PID(to.ip, to.port, ""), "numbers")[:-2]


def refuses_sender(status: int, fields: Container[bytes]) -> bool:
    """Whether an answer refuses notices because of the address that they were asked from."""
    return status == REFUSED_SENDER and FIELD in fields


def answer_lines(interval: float) -> list[bytes]:
    """The header lines of the answer: no proxy is to store it, change it or wait for more of it."""
    return [
        b"Content-Type: text/plain; charset=utf-8",
        b"Cache-Control: no-store, no-transform",
        b"X-Accel-Buffering: no",
        b"%b: %g" % (HEADER, interval),
        b"Connection: close",
    ]


def interval_of(value: bytes) -> float:
    """The longest time between two notices, as an answer states it."""
    try:
        seconds = float(value)
    except ValueError:
        return math.inf
    return seconds if 0 < seconds <= _LONGEST_INTERVAL else math.inf


class Lines:
    """The bytes of a stream, cut into lines."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._at = 0  # where the next line begins
        self._seen = 0  # how far no end of it was found

    def add(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            RemoteProtocolError: a line is too long.
        """
        del self._rest[: self._at]
        self._seen = max(self._seen - self._at, 0)
        self._at = 0
        self._rest += data
        if len(self._rest) - len(data) > _MAX_LINE:
            raise RemoteProtocolError(f"a notice exceeds {_MAX_LINE} bytes")

    def __iter__(self) -> Iterator[bytes]:
        """The lines that are whole and were not taken, empty ones as well."""
        while (end := self._rest.find(b"\n", self._seen)) >= 0:
            line = bytes(self._rest[self._at : end])
            self._at = self._seen = end + 1
            yield line
        self._seen = len(self._rest)
