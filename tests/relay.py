"""A relay between two peers, which keeps what it has carried and may change it, as proxies do."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from tests.ports import own_port

_MOST = 1 << 20


class Relay:
    """Listens on a port, and carries what comes there to another.

    Args:
        change: makes what goes on of what has come to the port.

    Attributes:
        port: where it listens.
        to: the port that it leads to; to be set before anybody connects.
        carried: all bytes that have come from those who connect, as they came.
    """

    def __init__(self, change: Callable[[bytes], bytes] = lambda data: data) -> None:
        self.to = 0
        self.carried = b""
        self._change = change
        self._listener = socket.create_server(("127.0.0.1", own_port()))
        self.port: int = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
                self._sockets += (near, far)
                threading.Thread(target=self._carry, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self._carry, args=(far, near, False), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, is_request: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_MOST):
                if is_request:
                    self.carried += data
                    data = self._change(data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
