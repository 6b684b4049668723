"""The wire as a foreign peer sees it: frames as bytes, and answers read from a plain socket."""

from __future__ import annotations

import socket
from typing import Any

from compactor import PID
from tests.ports import own_port

SENDER = PID("127.0.0.1", 9, "sender")


def frame(
    to: PID, name: str = "message", body: bytes = b"", agent: bool = False, sender: PID = SENDER
) -> bytes:
    """A message of a peer that reads answers, or of one that calls itself libprocess."""
    who = f"User-Agent: libprocess/{sender}" if agent else f"Libprocess-From: {sender}"
    head = f"POST /{to.id}/{name} HTTP/1.1\r\n{who}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def pid_at(listener: socket.socket, id_: str = "x") -> PID:
    """The pid of a process that would live where a socket listens."""
    return PID("127.0.0.1", listener.getsockname()[1], id_)


def dead_port() -> int:
    """A port where nobody listens, nor will, unless the test does."""
    return own_port()


def read_until_end(sock: socket.socket) -> bytes:
    """All bytes until the peer closes; a reset counts as the end."""
    data = b""
    while True:
        try:
            piece = sock.recv(65536)
        except ConnectionResetError:
            return data
        if not piece:
            return data
        data += piece


def read_bytes(sock: socket.socket, count: int) -> bytes:
    """Exactly ``count`` bytes."""
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(count - len(data))
        assert piece, f"the peer closed after {bytes(data[-200:])!r}"
        data += piece
    return bytes(data)


def read_answer(sock: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next HTTP answer."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_bytes(sock, 1)
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    return int(head.split()[1]), read_bytes(sock, length)


def read_head(sock: socket.socket) -> bytes:
    """The next request line and header fields."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_bytes(sock, 1)
    return head


def accept_notices(listener: socket.socket) -> tuple[socket.socket, str]:
    """The connection on which notices are asked for, and the name of their stream."""
    sock, _ = listener.accept()
    sock.settimeout(5)
    head = read_head(sock)
    assert head.startswith(b"GET /compactor.notices HTTP/1.1\r\n"), head
    name = next(line for line in head.split(b"\r\n") if line.startswith(b"Compactor-Notices: "))
    return sock, name.partition(b": ")[2].decode()


def have_no_notices(listener: socket.socket) -> None:
    """Answer as libprocess does when it is asked for notices."""
    sock, _ = accept_notices(listener)
    with sock:
        sock.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\n404 Not Found.")
        read_until_end(sock)


def connects(ip: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((ip, port), timeout=20).close()
    except OSError:
        return False
    return True


def read_message(stream: Any) -> tuple[str, str, bytes]:
    """Path, sender and body of the next message."""
    path = stream.readline().split()[1].decode()
    fields = {}
    while (line := stream.readline()) != b"\r\n":
        name, _, value = line.decode().partition(":")
        fields[name.lower()] = value.strip()
    sender = fields.get("libprocess-from") or fields["user-agent"].partition("/")[2]
    body = b""
    while size := int(stream.readline(), 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return path, sender, body
