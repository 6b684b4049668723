"""A process that tells a test what it was given."""

from __future__ import annotations

import queue
import socket
from typing import Any

from compactor import PID, Process, Reason

SECONDS = 10.0


class Recorder(Process):
    """Puts every message ``ping`` and every exit into queues."""

    def __init__(self, name: str = "recorder") -> None:
        super().__init__(name)
        self.messages: queue.Queue[tuple[PID, bytes]] = queue.Queue()
        self.exits: queue.Queue[tuple[PID, Reason]] = queue.Queue()

    @Process.install("ping")
    def ping(self, from_pid: PID, body: bytes) -> None:
        self.messages.put((from_pid, body))

    @Process.install("fail")
    def fail(self, from_pid: PID, body: bytes) -> None:
        raise RuntimeError("this handler fails on purpose")

    def exited(self, pid: PID, reason: Any) -> None:
        self.exits.put((pid, reason))

    def next_message(self) -> tuple[PID, bytes]:
        return self.messages.get(timeout=SECONDS)

    def next_exit(self) -> tuple[PID, Reason]:
        return self.exits.get(timeout=SECONDS)

    def settle(self) -> None:
        """Return once everything that has been put into the mailbox is handled."""
        self.context.dispatch(self.pid, lambda: None).result(SECONDS)


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
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        assert piece, f"the peer closed after {data!r}"
        data += piece
    return data


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
