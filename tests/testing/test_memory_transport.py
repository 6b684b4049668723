"""Connections in memory: they behave as sockets do, and are cut and delayed as they are told to."""

from __future__ import annotations

import asyncio
import contextvars
import random
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from compactor.testing import MemoryTransport, memory_pair
from tests.testing.connections import Buffered, Keeping, Seeing, by_sockets, in_memory

LARGE = bytes(range(256)) * 64 * 1024  # 16 MiB: more than a system buffers

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """What runs a coroutine on a loop of each library."""
    if request.param == "asyncio":
        factory = asyncio.new_event_loop
    else:
        factory = pytest.importorskip("uvloop").new_event_loop

    def run(main: Coroutine[Any, Any, None]) -> None:
        loop = factory()
        try:
            loop.run_until_complete(main)
        finally:
            loop.close()

    return run


@pytest.fixture(params=[in_memory, by_sockets], ids=["memory", "sockets"])
def connect(request: pytest.FixtureRequest) -> Any:
    """What connects two protocols: what holds in memory holds for sockets."""
    return request.param


# As with sockets


def test_bytes_go_both_ways_in_order(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Seeing(), Seeing()
        async with connect(client, server):
            client.transport.write(b"one ")
            client.transport.writelines([b"two ", bytearray(b"three"), memoryview(b"")])
            server.transport.write(b"four")
            await server.until(lambda: server.data == b"one two three")
            await client.until(lambda: client.data == b"four")
            assert client.seen == server.seen == ["made"]

    run(main())


def test_what_is_written_is_what_stood_there_at_the_time(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Seeing(), Seeing()
        async with connect(client, server):
            data = bytearray(b"now")
            client.transport.write(data)
            await server.until(lambda: server.data == b"now")
            data[:] = b"new"
            client.transport.write(data)
            await server.until(lambda: server.data == b"nownew")

    run(main())


def test_an_end_closes_the_other_side(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Seeing(), Seeing()
        async with connect(client, server):
            assert client.transport.can_write_eof()
            client.transport.write(b"last words")
            client.transport.write_eof()
            await client.lost()
            await server.lost()
            assert server.data == b"last words"
            assert client.seen == server.seen == ["made", "end", "lost"]
            assert client.error is server.error is None

    run(main())


def test_who_keeps_open_can_write_after_the_end_of_the_other(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Keeping(), Keeping()
        async with connect(client, server):
            client.transport.write_eof()
            await server.until(lambda: "end" in server.seen)
            assert not server.transport.is_closing()
            server.transport.write(LARGE)
            server.transport.close()
            assert server.transport.is_closing()
            await client.until(lambda: "end" in client.seen)
            assert client.data == LARGE
            await server.lost()
            assert server.seen[-1] == "lost"
            assert server.error is None
            with pytest.raises(RuntimeError, match="write_eof"):
                client.transport.write(b"more")

    run(main())


def test_what_is_written_after_close_goes_nowhere(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Seeing(), Seeing()
        async with connect(client, server):
            client.transport.write(b"before")
            client.transport.close()
            client.transport.write(b"after")
            await server.lost()
            await client.lost()
            assert server.data == b"before"
            assert client.seen == ["made", "lost"]
            assert server.seen == ["made", "end", "lost"]

    run(main())


def test_a_full_buffer_pauses_and_an_empty_one_resumes(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Seeing(), Seeing()
        async with connect(client, server):
            server.transport.pause_reading()
            client.transport.set_write_buffer_limits(high=1000, low=10)
            client.transport.write(LARGE)
            await client.until(lambda: client.seen == ["made", "paused"])
            assert client.transport.get_write_buffer_size() > 1000
            assert server.data == b""
            assert not server.transport.is_reading()
            server.transport.resume_reading()
            await client.until(lambda: client.seen == ["made", "paused", "resumed"])
            assert client.transport.get_write_buffer_size() <= 10
            await server.until(lambda: server.data == LARGE)

    run(main())


def test_little_is_written_without_a_pause(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Seeing(), Seeing()
        async with connect(client, server):
            client.transport.set_write_buffer_limits(high=0)
            client.transport.write(b"x" * 1000)  # a system takes as much at once
            assert client.transport.get_write_buffer_size() == 0
            await server.until(lambda: len(server.data) == 1000)
            assert client.seen == ["made"]

    run(main())


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({}, (16 * 1024, 64 * 1024)),
        ({"high": 100}, (25, 100)),
        ({"low": 100}, (100, 400)),
        ({"high": 5, "low": 5}, (5, 5)),
    ],
)
def test_limits_are_those_of_asyncio(connect: Any, given: Any, limits: tuple[int, int]) -> None:
    async def main() -> None:
        client, server = Seeing(), Seeing()
        async with connect(client, server):
            client.transport.set_write_buffer_limits(**given)
            assert client.transport.get_write_buffer_limits() == limits
            with pytest.raises(ValueError, match="must be >= low"):
                client.transport.set_write_buffer_limits(high=1, low=2)

    asyncio.run(main())


def test_a_buffered_protocol_is_given_what_its_buffer_takes(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Seeing(), Buffered()
        async with connect(client, server):
            client.transport.write(b"0123456789abcdef")
            client.transport.write_eof()
            await server.lost()
            assert server.data == b"0123456789abcdef"
            assert server.sizes == [7, 7, 2]
            assert server.seen == ["made", "end", "lost"]

    run(main())


def test_a_buffer_without_room_ends_the_connection(run: Run, connect: Any) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, told: None)
        client, server = Seeing(), Buffered()
        server.buffer = bytearray()
        async with connect(client, server):
            client.transport.write(b"x")
            await server.lost()
            assert isinstance(server.error, RuntimeError)
            assert "empty buffer" in str(server.error)

    run(main())


def test_a_protocol_that_is_set_reads_on(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server, later = Seeing(), Seeing(), Buffered()
        async with connect(client, server):
            client.transport.write(b"first")
            await server.until(lambda: server.data == b"first")
            server.transport.pause_reading()
            server.transport.set_protocol(later)
            assert server.transport.get_protocol() is later
            client.transport.write(b"second, of more bytes")
            server.transport.resume_reading()
            await later.until(lambda: later.data == b"second, of more bytes")
            assert server.data == b"first"
            client.transport.close()
            await later.lost()

    run(main())


def test_a_protocol_that_raises_is_reported_and_loses_its_connection(
    run: Run, connect: Any
) -> None:
    class Broken(Seeing):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    async def main() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, what: told.append(what))
        client, server = Seeing(), Broken()
        async with connect(client, server):
            client.transport.write(b"x")
            await server.lost()
            assert isinstance(server.error, ZeroDivisionError)
            assert [type(what["exception"]) for what in told] == [ZeroDivisionError]
            assert told[0]["protocol"] is server
            await client.lost()

    run(main())


def test_close_while_something_is_unread_resets_the_other_end(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Seeing(), Seeing()
        async with connect(client, server):
            server.transport.pause_reading()
            client.transport.write(b"nobody reads this")
            await asyncio.sleep(0.01)  # until it is there
            server.transport.close()
            await client.lost()
            assert isinstance(client.error, ConnectionResetError)
            await server.lost()
            assert server.data == b""

    run(main())


def test_what_is_sent_to_a_closed_end_comes_back_as_a_reset(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Keeping(), Seeing()
        async with connect(client, server):
            server.transport.close()
            await client.until(lambda: "end" in client.seen)
            await server.lost()
            client.transport.write(b"too late")
            await asyncio.sleep(0.01)  # until the reset is there; nobody looks
            assert client.seen == ["made", "end"]
            client.transport.write(b"much too late")
            await client.lost()
            assert isinstance(client.error, (ConnectionResetError, BrokenPipeError))

    run(main())


def reset(end: Seeing) -> None:
    """Close with a reset, as ``abort`` does in memory."""
    sock = end.transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.transport.abort()


def test_abort_resets_the_other_end(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Seeing(), Seeing()
        async with connect(client, server):
            reset(client)
            await server.lost()
            await client.lost()
            assert isinstance(server.error, ConnectionResetError)
            assert client.error is None
            assert client.seen == server.seen == ["made", "lost"]

    run(main())


def test_who_does_not_read_notices_a_reset_when_writing(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Seeing(), Seeing()
        async with connect(client, server):
            server.transport.pause_reading()
            reset(client)
            await asyncio.sleep(0.01)
            assert server.seen == ["made"]
            server.transport.write(b"x")
            await server.lost()
            assert isinstance(server.error, (ConnectionResetError, BrokenPipeError))

    run(main())


def test_who_does_not_read_notices_a_reset_when_reading_on(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Seeing(), Seeing()
        async with connect(client, server):
            server.transport.pause_reading()
            client.transport.write(b"still there")
            await asyncio.sleep(0.01)
            reset(client)
            await asyncio.sleep(0.01)
            server.transport.resume_reading()
            await server.lost()
            assert isinstance(server.error, ConnectionResetError)
            assert server.data == b"still there"

    run(main())


def test_who_waits_to_write_notices_a_reset_at_once(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Seeing(), Seeing()
        async with connect(client, server):
            server.transport.pause_reading()
            client.transport.pause_reading()
            server.transport.write(LARGE)
            await asyncio.sleep(0.01)
            reset(client)
            await server.lost()
            assert isinstance(server.error, (ConnectionResetError, BrokenPipeError))

    run(main())


def test_bytes_only(run: Run, connect: Any) -> None:
    async def main() -> None:
        client, server = Seeing(), Seeing()
        async with connect(client, server):
            with pytest.raises(TypeError):
                client.transport.write("text")

    run(main())


def test_streams_of_asyncio_run_on_it(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = memory_pair(protocol, server := Seeing())
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        server.transport.set_write_buffer_limits(high=0)
        server.transport.write(b"a line\nand the rest")
        server.transport.close()
        assert await reader.readline() == b"a line\n"
        assert await reader.read() == b"and the rest"
        writer.write(b"x")
        await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()

    run(main())


# In memory alone


def test_calls_after_the_end_change_nothing() -> None:
    async def main() -> None:
        client, server = Seeing(), Seeing()
        async with in_memory(client, server):
            transport = client.transport
            transport.write(b"all")
            transport.close()
            await server.lost()
            await client.lost()
            transport.write(b"more")
            transport.write_eof()
            transport.pause_reading()
            transport.resume_reading()
            transport.close()
            transport.abort()
            assert transport.is_closing()
            assert not transport.is_reading()
            assert transport.get_write_buffer_size() == 0
            assert transport.get_protocol() is None
            await asyncio.sleep(0.001)
            assert client.seen == ["made", "lost"]
            assert (server.data, server.error) == (b"all", None)

    asyncio.run(main())


def test_addresses_and_what_else_is_known() -> None:
    async def main() -> None:
        client, server = memory_pair(
            Seeing(), Seeing(), addresses=(("10.0.0.1", 1), ("10.0.0.2", 2))
        )
        assert client.get_extra_info("sockname") == ("10.0.0.1", 1)
        assert client.get_extra_info("peername") == ("10.0.0.2", 2)
        assert server.get_extra_info("sockname") == ("10.0.0.2", 2)
        assert server.get_extra_info("peername") == ("10.0.0.1", 1)
        assert server.get_extra_info("socket") is None
        assert server.get_extra_info("socket", 7) == 7
        assert client.peer is server
        assert server.peer is client
        assert repr(client) == "<MemoryTransport open ('10.0.0.1', 1) to ('10.0.0.2', 2)>"
        client.write(bytes(300 * 1024))
        client.close()
        assert repr(client).startswith("<MemoryTransport closing ")
        client.abort()
        assert repr(client).startswith("<MemoryTransport closed ")

    asyncio.run(main())


def cut_by(cuts: Any, *writes: bytes) -> tuple[list[int], bytes]:
    """The sizes that a protocol receives, and all bytes."""

    async def main() -> None:
        client, _ = memory_pair(Seeing(), server, cuts=cuts)
        for data in writes:
            client.write(data)
        client.close()
        await server.lost()

    server = Seeing()
    asyncio.run(main())
    return server.sizes, server.data


def test_one_turn_is_one_stream_and_cut_as_told() -> None:
    assert cut_by(None, b"abc", b"def") == ([6], b"abcdef")
    assert cut_by(4, b"abc", b"def", b"ghi") == ([4, 4, 1], b"abcdefghi")
    assert cut_by([1, 4, 100], b"abc", b"defghi") == ([1, 4, 4], b"abcdefghi")
    assert cut_by([2, 2], b"abc", b"defghi") == ([2, 2, 5], b"abcdefghi")
    assert cut_by(1, bytes(500)) == ([1] * 500, bytes(500))


def test_random_cuts_are_those_of_their_seed() -> None:
    data = random.Random(1).randbytes(10_000)
    sizes, received = cut_by(random.Random(7), data)
    assert received == data
    assert sizes[:8] == [340, 34, 2655, 3, 1073, 289, 2, 733]
    assert min(sizes) == 1
    assert cut_by(random.Random(7), data)[0] == sizes
    assert cut_by(random.Random(8), data)[0] != sizes


def test_what_does_not_fit_into_the_window_waits_in_the_write_buffer() -> None:
    async def main() -> None:
        client, server = memory_pair(sender := Seeing(), receiver := Seeing(), window=100)
        server.pause_reading()
        client.set_write_buffer_limits(high=50, low=20)
        client.write(bytes(150))
        assert client.get_write_buffer_size() == 50
        assert sender.seen == ["made"]
        client.write(b"x")
        assert sender.seen == ["made", "paused"]
        await asyncio.sleep(0)
        assert (client.bytes_on_the_way, server.unread_bytes) == (100, 0)
        await asyncio.sleep(0)
        assert (client.bytes_on_the_way, server.unread_bytes) == (0, 100)
        assert client.get_write_buffer_size() == 51
        server.resume_reading()
        await receiver.until(lambda: len(receiver.data) == 151)
        assert receiver.sizes == [100, 51]
        assert sender.seen == ["made", "paused", "resumed"]

    asyncio.run(main())


def test_carry_decides_when_something_arrives_but_not_the_order() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        arrivals: list[tuple[int, Callable[[], None]]] = []
        client, _ = memory_pair(
            Seeing(),
            server := Seeing(),
            cuts=[3, 2],
            carry=lambda size, arrive: arrivals.append((size, arrive)),
        )
        client.write(b"abcde")
        client.close()
        await asyncio.sleep(0.001)
        assert [size for size, _ in arrivals] == [3, 2, 0]
        assert server.seen == ["made"]
        arrivals[2][1]()
        arrivals[1][1]()
        assert server.data == b""
        assert client.bytes_on_the_way == 5
        loop.call_soon(arrivals[0][1])
        await server.lost()
        assert server.sizes == [3, 2]
        assert server.seen == ["made", "end", "lost"]

    asyncio.run(main())


def test_a_subclass_decides_when_something_arrives() -> None:
    class Slow(MemoryTransport):
        def carry(self, size: int, arrive: Callable[[], None]) -> object:
            return self._loop.call_later(0.02, arrive)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        client, server = Slow(loop), MemoryTransport(loop)
        client.join(server)
        client.open(Seeing())
        client.write(b"before anybody accepts")
        client.close()
        before = loop.time()
        server.open(receiver := Seeing())
        await receiver.lost()
        assert receiver.data == b"before anybody accepts"
        assert loop.time() - before > 0.015

    asyncio.run(main())


def test_what_arrives_before_a_protocol_is_there_is_unread() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        client, server = MemoryTransport(loop), MemoryTransport(loop)
        client.join(server)
        client.open(Seeing())
        client.write(b"early")
        await asyncio.sleep(0.001)
        assert server.unread_bytes == 5
        server.open(receiver := Seeing())
        assert (receiver.seen, receiver.data) == (["made"], b"")
        await receiver.until(lambda: receiver.data == b"early")

    asyncio.run(main())


def test_each_protocol_is_called_in_the_context_it_was_opened_in() -> None:
    name = contextvars.ContextVar("name", default="nobody")

    class Named(Buffered):
        def see(self, what: str) -> None:
            super().see(f"{what} of {name.get()}")

        def take(self, data: bytes) -> None:
            self.see("data")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ends = [MemoryTransport(loop, window=10), MemoryTransport(loop, window=10)]
        ends[0].join(ends[1])
        protocols = [Named(), Named()]
        for end, protocol, who in zip(ends, protocols, "ab", strict=True):
            name.set(who)
            end.open(protocol)
        name.set("somebody else")
        ends[0].set_write_buffer_limits(high=0)
        ends[0].write(bytes(18))
        ends[0].close()
        await protocols[1].until(lambda: "lost of b" in protocols[1].seen)
        assert protocols[1].seen == ["made of b", *["data of b"] * 4, "end of b", "lost of b"]
        # It is the writer's own call that says so.
        assert protocols[0].seen[:2] == ["made of a", "paused of somebody else"]
        assert protocols[0].seen[2:] == ["resumed of a", "lost of a"]

    asyncio.run(main())


def test_no_bytes_are_read_again_or_lost_however_they_are_cut() -> None:
    """With pauses, small windows and buffers, and segments that come in any order."""

    async def main(seed: int) -> None:
        rng = random.Random(seed)
        loop = asyncio.get_running_loop()

        def carry(size: int, arrive: Callable[[], None]) -> None:
            loop.call_later(rng.random() / 1000, arrive)

        receiver = rng.choice([Seeing, Buffered])()
        sender = Seeing()
        client, server = memory_pair(
            sender, receiver, window=rng.randint(1, 3000), cuts=rng, carry=carry
        )
        sent = b""
        for _ in range(rng.randint(1, 10)):
            data = rng.randbytes(rng.randint(0, 800))
            client.write(data)
            sent += data
            rng.choice([server.pause_reading, server.resume_reading])()
            await asyncio.sleep(rng.random() / 1000)
        server.resume_reading()
        client.close()
        await receiver.lost()
        assert receiver.data == sent
        assert receiver.error is None
        assert [s for s in receiver.seen if s in ("end", "lost")] == ["end", "lost"]
        assert client.bytes_on_the_way == server.unread_bytes == 0

    for seed in range(40):
        asyncio.run(main(seed))


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"window": 0}, ValueError, "window must be at least 1 byte, got 0"),
        ({"window": "1"}, TypeError, "window must be a number of bytes, got '1'"),
        ({"window": True}, TypeError, "window must be a number of bytes, got True"),
        ({"cuts": -1}, ValueError, "cuts must be at least 1 byte, got -1"),
        ({"cuts": "12"}, TypeError, "cuts must be a number of bytes, some of them, or a random"),
        ({"cuts": 1.5}, TypeError, "or a random.Random, got 1.5"),
        ({"cuts": [1, 0]}, ValueError, "a size in cuts must be at least 1 byte, got 0"),
        ({"cuts": [1, None]}, TypeError, "a size in cuts must be a number of bytes, got None"),
        ({"addresses": ("a",)}, ValueError, "addresses are two, .* got \\('a',\\)"),
        ({"carry": 5}, TypeError, "carry must be callable, got 5"),
    ],
)
def test_bad_arguments(given: Any, error: type[Exception], text: str) -> None:
    async def main() -> None:
        with pytest.raises(error, match=text):
            memory_pair(Seeing(), Seeing(), **given)

    asyncio.run(main())


def test_protocols_are_objects_and_need_a_loop() -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="a protocol of asyncio is connected"):
            memory_pair(type, Seeing())  # type: ignore[arg-type]

    asyncio.run(main())
    with pytest.raises(RuntimeError, match="no running event loop"):
        memory_pair(asyncio.Protocol(), asyncio.Protocol())
