"""Bounds: each is met, refuses with a word that names it, and lets go when there is room again."""

from __future__ import annotations

import contextlib
import gzip
import logging
import socket
import time
from collections.abc import Callable

import pytest

from compactor import Context, Process, Settings
from tests.actors import TIMEOUT, Receiver, spawned, wait_until
from tests.raw import frame, read_answer, read_until_end

resource = pytest.importorskip("resource", reason="no bound of file descriptors here")

Connect = Callable[[Context], socket.socket]
ContextFactory = Callable[..., Context]

HELLO = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"


def is_served(sock: socket.socket) -> bool:
    """Whether a connection was taken, and answers."""
    try:
        sock.sendall(HELLO)
        return read_answer(sock)[0] == 404
    except (AssertionError, ConnectionError):
        return False


@pytest.mark.parametrize("name", ["max_connections", "max_connections_per_ip"])
def test_connections_beyond_the_bound_are_closed_and_counted(
    make_context: ContextFactory, connect: Connect, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    context = make_context(settings=Settings(**{name: 2}))
    first, second = connect(context), connect(context)
    assert [is_served(first), is_served(second)] == [True, True]

    assert not is_served(connect(context))

    assert context.metrics.snapshot()["refused_connections"] == 1
    assert f"a connection from 127.0.0.1 is refused: {name}=2 are open" in caplog.text
    assert [is_served(first), is_served(second)] == [True, True]


def test_a_connection_is_taken_again_when_another_has_ended(
    make_context: ContextFactory, connect: Connect
) -> None:
    context = make_context(settings=Settings(max_connections_per_ip=1))
    for _ in range(5):
        sock = connect(context)
        assert is_served(sock)
        assert not is_served(connect(context))
        sock.close()
        wait_until(lambda: not context._runtime.server.connections)
    assert context.metrics.refused_connections == 5


def test_refused_connections_are_logged_at_a_bounded_rate(
    make_context: ContextFactory, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context(settings=Settings(max_connections=1))
    assert is_served(connect(context))
    for _ in range(20):
        assert not is_served(connect(context))
    assert context.metrics.refused_connections == 20
    assert 1 <= len([r for r in caplog.records if "is refused" in r.message]) <= 5


def test_one_address_cannot_take_the_connections_of_others(make_context: ContextFactory) -> None:
    context = make_context(
        ip="0.0.0.0", advertise_ip="127.0.0.1", settings=Settings(max_connections_per_ip=1)
    )

    def from_ip(ip: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", context.port), 5, source_address=(ip, 0))

    with from_ip("127.0.0.1") as first, from_ip("127.0.0.1") as more, from_ip("127.0.0.2") as other:
        assert (is_served(first), is_served(more), is_served(other)) == (True, False, True)


def test_descriptors_are_left_for_the_rest_of_the_program(
    make_context: ContextFactory, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    context = make_context(settings=Settings(spare_descriptors=soft - 3))  # three are open anyway

    assert not is_served(connect(context))

    assert f"only spare_descriptors={soft - 3} of the program are left" in caplog.text
    generous = make_context(settings=Settings(spare_descriptors=1))
    assert is_served(connect(generous))


@pytest.mark.parametrize(
    "begun",
    [
        HELLO[:-2],
        b"POST /x/message HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
        b"POST /x/message HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
    ids=["head", "body", "chunks"],
)
def test_a_request_that_does_not_end_is_cut_off_with_408(
    make_context: ContextFactory, connect: Connect, begun: bytes
) -> None:
    # Loops count whole milliseconds.
    context = make_context(settings=Settings(request_timeout=0.21))
    sock = connect(context)
    start = time.monotonic()
    sock.sendall(begun)
    status, text = read_answer(sock)
    assert (status, text) == (408, b"a request did not arrive whole in 0.21 s\n")
    assert read_until_end(sock) == b""
    assert 0.2 <= time.monotonic() - start < TIMEOUT / 4


def test_a_trickle_does_not_put_the_request_timeout_off(
    make_context: ContextFactory, connect: Connect
) -> None:
    context = make_context(settings=Settings(request_timeout=0.3))
    sock = connect(context)
    sock.settimeout(0.02)
    sock.sendall(b"GET /nothing HTTP/1.1\r\n")
    answer = b""
    deadline = time.monotonic() + 5
    while not answer and time.monotonic() < deadline:
        sock.sendall(b"X")
        with contextlib.suppress(TimeoutError):
            answer = sock.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_silent_connections_and_steady_ones_outlive_the_request_timeout(
    make_context: ContextFactory, connect: Connect
) -> None:
    context = make_context(settings=Settings(request_timeout=1.0))
    receiver = spawned(context, Receiver())
    silent, steady = connect(context), connect(context)
    data = frame(receiver.pid, body=b"x" * 100)
    end = time.monotonic() + 1.5
    steady.sendall(data[:-10])
    while time.monotonic() < end:  # there is always an unfinished request, and never the same
        steady.sendall(data[-10:] + data[:-10])
        assert read_answer(steady) == (202, b"")
    assert is_served(silent)


def test_what_inflates_beyond_its_bound_is_refused(
    make_context: ContextFactory, connect: Connect
) -> None:
    context = make_context(settings=Settings(max_inflated_bytes=1000))
    receiver = spawned(context, Receiver())
    for size, status in ((1000, 202), (1001, 413)):
        body = gzip.compress(b"x" * size)
        data = frame(receiver.pid, body=body).replace(
            b"\r\nContent-Length", b"\r\nContent-Encoding: gzip\r\nContent-Length"
        )
        sock = connect(context)
        sock.sendall(data)
        assert read_answer(sock)[0] == status
    assert len(receiver.received.take()[1]) == 1000


def test_processes_beyond_the_bound_cannot_be_spawned(make_context: ContextFactory) -> None:
    context = make_context(settings=Settings(max_processes=2))
    first = spawned(context, Process("first"))
    spawned(context, Process("second"))

    third = Process("third")
    with pytest.raises(Context.InvalidProcess, match="one too many: max_processes=2 live already"):
        context.spawn(third)

    assert not third.is_bound
    context.terminate(first.pid)
    wait_until(lambda: len(context._runtime.registry.live) == 1)
    context.spawn(third)


@pytest.mark.parametrize("value", [0, -1, None, "many", True, 1e6, 2**63])
def test_a_bad_bound_is_named(value: object) -> None:
    with pytest.raises(Context.Error, match=r"max_connections=.* must be a number above 0"):
        Settings(max_connections=value)  # type: ignore[arg-type]


def test_every_setting_says_what_it_is_and_why(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        listed = Settings(linger=0.5).describe()
    by_name = {setting.name: setting for setting in listed}
    assert by_name["linger"][1:3] == (0.5, 1.0)
    assert all(len(setting.reason) > 10 for setting in listed)
