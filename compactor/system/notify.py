"""A datagram to the service manager that has started this program."""

from __future__ import annotations

import socket


def send(path: str, text: bytes) -> None:
    """Send a datagram to a socket of this machine; it is not waited for.

    Args:
        path: of the socket; one that begins with ``@`` is in the abstract namespace of Linux.

    Raises:
        OSError: there is no such socket, or nobody reads it.
        ValueError: it has no path of a socket.
    """
    if not path.startswith(("/", "@")):
        raise ValueError(f"{path!r} is no path of a socket: it begins with '/' or '@'")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(text, "\0" + path[1:] if path.startswith("@") else path)
