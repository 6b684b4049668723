"""Ports that stay a test's own, however many test runs share the machine.

A port that the system chose belongs to nobody once its socket is closed: the next connection or
server of any program may be given it.  So a test that restarts something on its port, or says that
nobody listens there, takes one from here.  These ports lie below those that systems choose from,
and each process that asks leases a block of them, for as long as it lives.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator

FIRST, END = 10_000, 32_000  # the lowest port that Linux chooses is 32,768, elsewhere 49,152
BLOCK = 200

_leases: dict[int, tuple[socket.socket, Iterator[int]]] = {}  # by process: a fork is another one


def own_port() -> int:
    """A port of this process where nobody listens, and that no other test run is given.

    It comes again after some two hundred others, if nobody listens there then.
    """
    lease = _leases.get(os.getpid())
    if lease is None:
        lease = _leases[os.getpid()] = _take_block()
    for port in itertools.islice(lease[1], BLOCK):
        if _is_free(port):
            return port
    raise RuntimeError(f"all of the {BLOCK - 1} ports of this process are in use")


def _take_block() -> tuple[socket.socket, Iterator[int]]:
    """Lease a block: the socket that listens on its first port says that it is taken."""
    blocks = range(FIRST, END, BLOCK)
    start = os.getpid() % len(blocks)
    for first in (*blocks[start:], *blocks[:start]):
        lock = socket.socket()
        try:
            if os.name == "posix":  # else the end of the last holder keeps the port for a minute
                lock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            lock.bind(("", first))
            lock.listen(1)
        except OSError:
            lock.close()
        else:
            return lock, itertools.cycle(range(first + 1, first + BLOCK))
    raise RuntimeError(f"all ports from {FIRST} to {END} are taken by other test runs")


def _is_free(port: int) -> bool:
    """Whether no stranger listens there, on any address."""
    with socket.socket() as probe:
        if os.name == "posix":  # connections that have ended do not count
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
