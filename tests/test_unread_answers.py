"""Requests whose answers nobody reads: they wait, in order with all else, and nothing is lost."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable

import pytest

from compactor import Context, Request, Settings, route
from tests.actors import TIMEOUT, Receiver, settle, spawned, wait_until

REQUESTS = 1000
ANSWER = "x" * 100_000
GET = b"GET /web/large HTTP/1.1\r\n\r\n"
MESSAGE = (
    b"POST /web/message HTTP/1.1\r\nLibprocess-From: x@127.0.0.1:1\r\nContent-Length: 4\r\n\r\n"
)


class Web(Receiver):
    """Counts its requests, and has each answer begin with the number."""

    requests = 0

    @route("/large")
    def large(self, request: Request) -> str:
        self.requests += 1
        return f"{self.requests:06}{ANSWER}"


@pytest.fixture
def web(make_context: Callable[..., Context]) -> Web:
    # Those that wait for their turn are answered, read or not; a slow machine has more of them.
    return spawned(make_context(settings=Settings(max_pipelined=10)), Web("web"))


@pytest.fixture
def client(web: Web, connect: Callable[[Context], socket.socket]) -> socket.socket:
    """A connection with all requests under way, a message in their middle, and some read by us."""
    client = connect(web.context)
    client.settimeout(TIMEOUT)
    half = GET * (REQUESTS // 2)
    client.sendall(half + MESSAGE + b"body" + half)
    connections = web.context._runtime.server.connections
    wait_until(lambda: any(connection._gate.is_held for connection in connections))
    settle(web)
    return client


def numbers_answered(client: socket.socket) -> list[int]:
    """The numbers of the requests that are answered, and of the message, which is 0."""
    numbers = []
    with client.makefile("rb") as stream:
        for _ in range(REQUESTS + 1):
            status = int(stream.readline().split()[1])
            headers = http.client.parse_headers(stream)
            body = stream.read(int(headers["Content-Length"]))
            numbers.append(int(body[:6]) if status == 200 else 0)
    return numbers


def test_an_answer_that_is_being_read_survives_stop(
    make_context: Callable[..., Context], connect: Callable[[Context], socket.socket]
) -> None:
    class Large(Receiver):
        @route("/page")
        def page(self, request: Request) -> bytes:
            return bytes(20_000_000)

    web = spawned(make_context(settings=Settings(linger=TIMEOUT)), Large("web"))
    client = connect(web.context)
    client.sendall(b"GET /web/page HTTP/1.1\r\n\r\n")
    seen = len(client.recv(1000))
    web.context.stop()
    while data := client.recv(1 << 20):
        seen += len(data)
    assert seen > 20_000_000
    web.context.join(TIMEOUT)
    assert not web.context.is_alive()


@pytest.mark.parametrize("ends", [False, True], ids=["stays", "sends no more"])
def test_answers_are_made_as_they_are_read(web: Web, client: socket.socket, ends: bool) -> None:
    if ends:
        client.shutdown(socket.SHUT_WR)
        settle(web)
    assert 0 < web.requests < REQUESTS // 3  # what two socket buffers hold
    assert web.received.is_empty

    half = REQUESTS // 2
    assert numbers_answered(client) == [*range(1, half + 1), 0, *range(half + 1, REQUESTS + 1)]
    assert web.received.take()[1] == b"body"
    if ends:
        assert client.recv(1) == b""


def test_what_waits_behind_them_survives_the_connection(web: Web, client: socket.socket) -> None:
    assert web.received.is_empty
    client.close()  # with answers unread: a reset

    assert web.received.take()[1] == b"body"
    settle(web)
    assert web.requests == REQUESTS


def test_what_waits_behind_them_is_handled_before_a_malformed_end(
    web: Web, client: socket.socket
) -> None:
    client.sendall(b"nonsense\r\n\r\n")
    settle(web)
    assert not web.context.metrics.malformed
    assert len(numbers_answered(client)) == REQUESTS + 1
    wait_until(lambda: web.context.metrics.malformed == 1)
