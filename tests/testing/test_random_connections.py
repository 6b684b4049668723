"""Whatever both ends of a connection in memory do, in whatever order: what always holds."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from compactor.testing import MemoryTransport, memory_pair
from compactor.testing.stepped_loop import SteppedLoop
from tests.testing.connections import Buffered, Keeping, Seeing


class End:
    """One end, what it has sent, and whether it may send more."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.sent = b""
        self.has_closed = False

    @property
    def transport(self) -> MemoryTransport:
        transport: MemoryTransport = self.protocol.transport
        return transport

    def act(self, rng: random.Random) -> None:
        """Do anything."""
        what = rng.random()
        if what < 0.5:
            self.write(rng.randbytes(int(2000 * rng.random() ** 3)))
        elif what < 0.7:
            self.transport.pause_reading()
        elif what < 0.9:
            self.transport.resume_reading()
        elif what < 0.93:
            self.transport.set_write_buffer_limits(high=rng.randint(0, 3000))
        elif what < 0.96:
            self.transport.write_eof()
            self.has_closed = True  # writes from now on are errors
        elif what < 0.98:
            self.transport.close()
            self.has_closed = True
        elif what < 0.985:
            self.transport.abort()

    def write(self, data: bytes) -> None:
        if not (self.has_closed or self.transport.is_closing()):
            self.transport.write(data)
            self.sent += data


def check(end: End, other: End) -> None:
    """What holds for one end, once all is over."""
    seen = end.protocol.seen
    assert seen[0] == "made"
    assert seen[-1] == "lost"
    assert seen.count("lost") == 1
    assert seen.count("end") <= 1
    pressure = [what for what in seen if what in ("paused", "resumed")]
    assert pressure[::2] == ["paused"] * len(pressure[::2])
    assert pressure[1::2] == ["resumed"] * len(pressure[1::2])
    assert other.sent.startswith(end.protocol.data)
    if "end" in seen:  # nothing is before the end but all
        assert end.protocol.data == other.sent
    assert end.transport.bytes_on_the_way == end.transport.unread_bytes == 0
    assert end.transport.get_write_buffer_size() == 0


@pytest.mark.parametrize("part", range(4))
def test_what_always_holds(part: int) -> None:
    ends = {"end": 0, "error": 0, "all": 0}
    for seed in range(part * 60, part * 60 + 60):
        rng = random.Random(seed)
        loop = SteppedLoop()
        reported: list[Any] = []
        loop.set_exception_handler(lambda _, told, reported=reported: reported.append(told))

        def carry(
            _: int, arrive: Callable[[], None], loop: Any = loop, rng: random.Random = rng
        ) -> None:
            loop.call_later(rng.random(), arrive)

        kinds = (Seeing, Keeping, Buffered)
        one, two = End(rng.choice(kinds)()), End(rng.choice(kinds)())
        memory_pair(
            one.protocol,
            two.protocol,
            loop=loop,
            window=rng.choice((5, 50, 5000)),
            cuts=rng.choice((None, 7, rng)),
            carry=carry,
        )
        for _ in range(rng.randint(1, 60)):
            rng.choice((one, two)).act(rng)
            loop.advance(rng.choice((0, rng.random())))
        for end in (one, two):
            end.transport.resume_reading()
        loop.advance(100_000)
        for end in (one, two):
            end.transport.close()
        loop.advance(100_000)
        stuck = "lost" not in one.protocol.seen
        assert stuck == ("lost" not in two.protocol.seen), seed
        if stuck:  # both wait for the other to read before they close, as with sockets
            assert one.transport.unread_bytes, seed
            assert two.transport.unread_bytes, seed
            one.transport.abort()
            loop.advance(1)
        for end, other in ((one, two), (two, one)):
            check(end, other)
            ends["end"] += "end" in end.protocol.seen
            ends["error"] += end.protocol.error is not None
            ends["all"] += end.protocol.data == other.sent
        assert reported == [], seed
    assert min(ends.values()) > 10, ends  # all of it was tried
