"""Servers that are no contexts, for commands to ask."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping

from tests.ports import own_port


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that has each of its connections answered; ``host:port``."""
    with socket.create_server(("127.0.0.1", own_port())) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(20)
                    answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def head_of(connection: socket.socket) -> str:
    """The head of the request that comes."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return data.decode("latin-1")


def saying(head: str, body: bytes = b"") -> Callable[[socket.socket], None]:
    """What answers every request so, and ends the connection."""

    def answer(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(
            f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )

    return answer


def telling(answers: Mapping[str, object]) -> Callable[[socket.socket], None]:
    """What answers each path as libprocess does: with JSON, with text, or with 404.

    A callable is called with the head of the request, and returns bytes: all of the answer.
    """

    def answer(connection: socket.socket) -> None:
        head = head_of(connection)
        path = head.split(" ")[1].partition("?")[0]
        told = answers.get(path)
        if callable(told):
            connection.sendall(told(head))
        elif told is None:
            connection.sendall(reply("404 Not Found", b"404 Not Found."))
        else:
            body = told if isinstance(told, bytes) else json.dumps(told).encode()
            connection.sendall(reply("200 OK", body))

    return answer


def reply(status: str, body: bytes = b"", more: str = "") -> bytes:
    """An answer of HTTP."""
    return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body
