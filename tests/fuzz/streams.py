"""Streams to compare decoders on, and all that can be seen of a decoder that reads one."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compactor.runtime.hot_path import Backend
from tests.backends import outcome
from tests.wire.test_decoder import ACCEPTED, ASKED, REFUSED

CAPTURES = Path(__file__).parents[1] / "captures"

LIMITS = [(80 * 1024, 1 << 20), (400, 64), (64, 1), (120, 5)]
"""Bounds of a head and of a body."""

HEAD = (
    *("method", "path", "query", "headers", "sender"),
    *("wants_answer", "keep_alive", "connection", "expects", "length", "coding", "is_link"),
)
"""What a head says."""

POST = b"POST /a/b HTTP/1.1\r\n"
GZIPPED = gzip.compress(b"hello", mtime=0)

RECORDED = [path.read_bytes() for path in sorted(CAPTURES.glob("*.bin"))]

STREAMS = [
    *RECORDED,
    *(data for data, _ in [*ACCEPTED.values(), *ASKED.values()]),
    *REFUSED.values(),
    *(POST + b"Content-Length: %d\r\n\r\n" % n for n in (10**18 - 1, 10**18, 10**19 - 1)),
    POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n",
    b"PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /a HTTP/1.0\r\n\r\n",
    POST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(GZIPPED) + GZIPPED,
]
"""What was recorded, and what tests say is accepted or refused."""

NOISE = [
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"\0", b"\xff", b" "),
    *(b"%", b":", b";", b"/", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"\t"),
    *(b";a=1", b";r=1", b"5;a=17\r\nhello\r\n", b"0;r=2\r\n\r\n", b"__req_res__(1)", b"(", b"12"),
]
"""Bytes that change what others mean."""


def cut(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    """A stream in pieces; a cut is any number from 0 up."""
    places = sorted(at % (len(stream) + 1) for at in cuts)
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


def edited(stream: bytes, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    """A stream with some bytes replaced: (place, bytes that go, bytes that come)."""
    for at, gone, new in edits:
        at %= len(stream) + 1
        stream = stream[:at] + new + stream[at + gone :]
    return stream


def read(decoder: Any, piece: bytes) -> Any:
    """Give bytes to a decoder as a socket does that fills the places of bodies itself."""
    body = decoder.body
    while body.missing and body.can_lend and piece:
        place = body.lend()
        count = min(len(place), len(piece))
        place[:count] = piece[:count]
        piece = piece[count:]
        if body.filled(count) is not (not body.missing):
            raise AssertionError("a decoder does not know whether a body is complete")
    return decoder.feed(piece)


LENDING = [(False,), (True,), (True, False)]
"""Whether a decoder lends places for bodies: never, always, or for every other piece."""


def seen(
    backend: Backend,
    pieces: Sequence[Any],
    limits: tuple[int, int],
    lending: Sequence[bool] = (False,),
    in_steps: bool = False,
) -> list[Any]:
    """All that can be seen of a decoder after each piece.

    Args:
        in_steps: give the next piece after one step, whether the decoder has more or not; it
            tells the rest after the last.
    """
    decoder = backend.RequestDecoder(*limits)
    trace = []
    for number, piece in enumerate([*pieces, b""] if in_steps else pieces):
        if lending[number % len(lending)]:
            result, value = outcome(read, decoder, piece)
        elif in_steps and number < len(pieces):
            result, value = outcome(decoder.feed_some, piece)
        else:
            result, value = outcome(decoder.feed, piece)
        if result == "returned":
            heads = [[getattr(head, name) for name in HEAD] for head in value[::2]]
            value = (heads, value[1::2], [type(body) for body in value[1::2]])
        error = decoder.error
        said = (type(error), str(error), error.status) if error is not None else None
        trace.append((result, value, said, (decoder.unfinished, decoder.body.missing)))
    return trace
