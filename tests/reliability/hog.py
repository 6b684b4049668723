"""One connection sends as much as it can, of a kind that costs; others are answered meanwhile.

``python -m tests.reliability.hog --seconds 5`` prints a line for each kind.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from compactor import PID, Context, Process, Request, Settings, health_check, install, route
from compactor.wire import notices

_BATCH_BYTES = 1 << 20  # that are sent in one go, at least
_PATIENTS = 5_000  # processes with routes, handlers and a health check
_AGENT = b"User-Agent: libprocess/x@127.0.0.1:1\n"

_NOTHING = gzip.compress(b"")
_COMPRESSED = gzip.compress(bytes(1 << 23))


def _message_with(body: bytes, field: bytes = b"") -> bytes:
    head = b"POST /web/message HTTP/1.1\n%b%bContent-Length: %d\n\n" % (_AGENT, field, len(body))
    return head + body


_STREAM = b"x" * 32  # the name of the hog's notices
_THE_STREAM = b"HTTP/1.1 200 OK\r\nCompactor-Notices: 15\r\n\r\n"

MANY: dict[str, Callable[[int], bytes]] = {
    "messages": lambda number: b"POST /web/message HTTP/1.1\n%b\n" % _AGENT,
    "requests to a route": lambda number: b"GET /web/page HTTP/1.1\nHost: x\n\n",
    "requests to nobody": lambda number: b"GET / HTTP/1.1\nHost: x\n\n",
    "requests, no two alike": lambda number: b"GET /%x HTTP/1.1\nHost: x\n\n" % number,
    "messages, no two alike": lambda number: b"POST /web/%x HTTP/1.1\n%b\n" % (number, _AGENT),
    "messages without sense": lambda number: b"POST /%%%x HTTP/1.1\n%b\n" % (number, _AGENT),
    "links, no two alike": lambda number: (
        b"POST /%x/link HTTP/1.1\nCompactor-Link: %b\n%b\n" % (number, _STREAM, _AGENT)
    ),
    "heads of many fields": lambda number: (
        b"GET /%x HTTP/1.1\nHost: x\n%b\n" % (number, b"a:\n" * Settings.max_header_fields)
    ),
    "paths of many segments": lambda number: (
        b"GET /web/%b HTTP/1.1\nHost: x\n\n" % (b"a/" * 40_000)
    ),
    "paths of many escapes": lambda number: b"GET /%b HTTP/1.1\nHost: x\n\n" % (b"%41" * 26_000),
    "queries of many arguments": lambda number: (
        b"GET /web/query?%b HTTP/1.1\nHost: x\n\n" % (b"a=%41&" * 13_000)
    ),
    "queries of one argument": lambda number: (
        b"GET /web/query?a=%b HTTP/1.1\nHost: x\n\n" % (b"%41" * 26_000)
    ),
    "long header lists": lambda number: (
        b"GET /web/page HTTP/1.1\nHost: x\nConnection: %b\n\n" % (b"close-," * 11_000)
    ),
    "folded fields": lambda number: (
        b"GET /web/page HTTP/1.1\nHost: x\na: b\n%b\n" % (b" %b\n" % (b"c" * 75) * 900)
    ),
    "long ids of senders": lambda number: (
        b"POST /web/message HTTP/1.1\nLibprocess-From: %x%b@127.0.0.1:1\n\n"
        % (number, b"a" * 80_000)
    ),
    "long ids of links": lambda number: (
        b"POST /%b/link HTTP/1.1\nCompactor-Link: %b\n%b\n" % (b"%ff" * 26_000, _STREAM, _AGENT)
    ),
    "many gzip members": lambda number: _message_with(
        _NOTHING * 50_000, b"Content-Encoding: gzip\n"
    ),
    "small chunks": lambda number: (
        b"POST /web/message HTTP/1.1\nTransfer-Encoding: chunked\n%b\n%b0\r\n\r\n"
        % (_AGENT, b"1\r\nx\r\n" * 100_000)
    ),
    "lists of all processes": lambda number: b"GET /__processes__ HTTP/1.1\nHost: x\n\n",
    "help on all processes": lambda number: b"GET /help?format=json HTTP/1.1\nHost: x\n\n",
    "examinations of all processes": lambda number: b"GET /health HTTP/1.1\nHost: x\n\n",
    "bodies of 1 MiB": lambda number: _message_with(bytes(1 << 20)),
    "bodies of 16 MiB": lambda number: _message_with(bytes(1 << 24)),
    "bodies that become 8 MiB": lambda number: _message_with(
        _COMPRESSED, b"Content-Encoding: gzip\n"
    ),
}
"""What is sent, by what it is: the bytes of one of a number."""

ANSWERS: dict[str, Callable[[int], bytes]] = {
    "answers": lambda number: b"HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n",
    "answers, no two alike": lambda number: (
        b"HTTP/1.1 404 %x\r\nContent-Length: 0\r\n\r\n" % number
    ),
    "blank lines before an answer": lambda number: b"\r\n",
    "small chunks of an answer": lambda number: (
        b"1\r\nx\r\n" if number else b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
}
"""What is answered, asked or not, on a connection of the server's own."""

NOTICES: dict[str, Callable[[int], bytes]] = {
    "notices": lambda number: _THE_STREAM if not number else b"exited x%x none\n" % number,
    "notices without sense": lambda number: _THE_STREAM if not number else b"a\n\n",
}
"""What is told, to a server that has linked."""

KINDS = (*MANY, *ANSWERS, *NOTICES)


class Web(Process):
    @route("/page")
    def page(self, request: Request) -> str:
        return "page"

    @route("/query")
    def query(self, request: Request) -> str:
        return str(len(request.query))

    @install("message")
    def message(self, from_pid: object, body: bytes) -> None:
        pass

    @install("call")
    def call(self, from_pid: PID, body: bytes) -> None:
        self.send(from_pid, "hello")

    @install("watch")
    def watch(self, from_pid: PID, body: bytes) -> None:
        self.link(from_pid)


class Patient(Web):
    @health_check
    def check(self) -> None:
        pass


def be_server() -> None:
    """Be the context that is talked to, until stdin is closed."""
    context = Context(ip="127.0.0.1")
    context.spawn(Web("web"))
    for number in range(_PATIENTS):
        context.spawn(Patient(f"patient{number}"))
    print(context.port, flush=True)
    sys.stdin.read()
    context.stop()


def be_hog(kind: str, port: int) -> None:
    """Send as much as is taken, and read the answers; a connection that is cut off is replaced."""
    batches = _batches((MANY | ANSWERS | NOTICES)[kind])
    listener = socket.create_server(("127.0.0.1", 0))
    asked = socket.create_connection(("127.0.0.1", port))
    asked.sendall(notices.request("127.0.0.1", "@127.0.0.1:1", _STREAM.decode()))
    threading.Thread(target=_read, args=(asked,), daemon=True).start()
    while True:
        connection = socket.create_connection(("127.0.0.1", port))
        if kind not in MANY:
            name = b"call" if kind in ANSWERS else b"watch"
            agent = b"libprocess/x@127.0.0.1:%d" % listener.getsockname()[1]
            connection.sendall(b"POST /web/%b HTTP/1.1\nUser-Agent: %b\n\n" % (name, agent))
            connection, _ = listener.accept()
        if kind in NOTICES:
            messages, connection = connection, listener.accept()[0]
            threading.Thread(target=_read, args=(messages,), daemon=True).start()
        threading.Thread(target=_read, args=(connection,), daemon=True).start()
        try:
            for number, batch in enumerate(batches):
                connection.sendall(batch)
                if not number:
                    print("sent", flush=True)
        except OSError:
            pass


def _batches(one: Callable[[int], bytes]) -> Iterator[bytes]:
    numbers = itertools.count()
    while True:
        batch = bytearray()
        while len(batch) < _BATCH_BYTES:
            batch += one(next(numbers))
        yield bytes(batch)


def _read(connection: socket.socket) -> None:
    try:
        while connection.recv(1 << 20):
            pass
    except OSError:
        pass


def times(kind: str, seconds: float) -> list[float]:
    """Seconds that requests on another connection took, one every 5 ms, sorted."""
    with _program("--server") as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        with _program("--hog", kind, "--port", str(port)) as hog:
            assert hog.stdout is not None
            assert hog.stdout.readline() == "sent\n"
            return sorted(_times(port, seconds))


def _times(port: int, seconds: float) -> Iterator[float]:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            client.sendall(b"GET /web/page HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(4096)
            yield time.perf_counter() - begun
            time.sleep(0.005)


class _program:
    """This module as another program, which is killed in the end."""

    def __init__(self, *args: str) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> subprocess.Popen[str]:
        return self._program

    def __exit__(self, *exc: object) -> None:
        with self._program:
            self._program.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each kind")
    parser.add_argument("--server", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--hog", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.server:
        be_server()
    elif args.hog:
        be_hog(args.hog, args.port)
    else:
        for kind in KINDS:
            found = times(kind, args.seconds)
            median, most = statistics.median(found) * 1e3, found[len(found) * 99 // 100] * 1e3
            print(f"{kind:28} {median:5.1f} ms in the median, {most:5.1f} of 99 %", flush=True)


if __name__ == "__main__":
    main()
