"""Hosts with addresses of their own, and the wire between them, whose faults tests command.

A host is a network namespace with a tun device.  The wire is a thread of the test that carries
packets from device to device: it drops, delays and reorders them as it is told, from a seed.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import itertools
import os
import random
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x1, 0x1000
_MTU = 1500

_numbers = itertools.count(1)


@dataclass
class Cable:
    """What happens to the packets from and to one host."""

    is_cut: bool = False  #: nothing passes, nobody is told
    is_mute: bool = False  #: no end of a connection passes: the kernel tells it for a dead program
    loss: float = 0.0  #: the share of packets that are dropped
    delay: float = 0.0  #: seconds, each way
    jitter: float = 0.0  #: seconds more at most, each packet on its own: so they are reordered


@dataclass(eq=False)
class Host:
    """A network namespace with one address."""

    name: str
    ip: str
    device: int
    cable: Cable = field(default_factory=Cable)

    def run(self, *words: str) -> None:
        """Run a command there."""
        subprocess.run([*self.prefix, *words], check=True, capture_output=True, timeout=30)

    @property
    def prefix(self) -> list[str]:
        """What runs the command behind it there."""
        return ["ip", "netns", "exec", self.name]


class Network:
    """The hosts of one test and the wire between them."""

    def __init__(self, seed: int = 1) -> None:
        self.hosts: dict[bytes, Host] = {}
        self.passed = self.dropped = 0
        self._random = random.Random(seed)
        self._wake_up, self._wake = socket.socketpair()
        self._is_closed = False
        self._thread = threading.Thread(target=self._carry, name="wire", daemon=True)
        self._thread.start()

    def add_host(self, ip: str | None = None) -> Host:
        """A new host, which all others reach that are in its network of 256 addresses."""
        import fcntl  # only where there are hosts to be had is it sure to exist

        number = next(_numbers)
        name, device_name = (
            f"compactor-{os.getpid()}-{number}",
            f"cpt{os.getpid() % 10**7}-{number}",
        )
        ip = ip or f"198.18.0.{number % 250 + 1}"
        subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
        try:
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        except OSError:
            subprocess.run(["ip", "netns", "del", name], check=True, capture_output=True)
            raise
        host = self.hosts[socket.inet_aton(ip)] = Host(name, ip, device)
        request = struct.pack("16sH22x", device_name.encode(), _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(device, _TUNSETIFF, request)
        subprocess.run(
            ["ip", "link", "set", device_name, "netns", name], check=True, capture_output=True
        )
        host.run("ip", "addr", "add", f"{ip}/24", "dev", device_name)
        host.run("ip", "link", "set", device_name, "up")
        host.run("ip", "link", "set", "lo", "up")
        self._wake.send(b"!")
        return host

    def close(self) -> None:
        """Remove all hosts."""
        self._is_closed = True
        self._wake.send(b"!")
        self._thread.join(10)
        for host in self.hosts.values():
            os.close(host.device)
            subprocess.run(["ip", "netns", "del", host.name], check=False, capture_output=True)
        self._wake.close()
        self._wake_up.close()

    def _carry(self) -> None:
        waiting: list[tuple[float, int, bytes, Host]] = []
        order = itertools.count()
        while not self._is_closed:
            sources = {host.device: host for host in list(self.hosts.values())}
            wait = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            for ready in select.select([*sources, self._wake_up], [], [], wait)[0]:
                if ready is self._wake_up:
                    self._wake_up.recv(4096)
                    continue
                with contextlib.suppress(OSError):
                    packet = os.read(ready, _MTU * 2)
                    to = self.hosts.get(packet[16:20]) if packet[0] >> 4 == 4 else None
                    if to is None:
                        continue
                    source = sources[ready]
                    if source.cable.is_mute and _is_end(packet):
                        continue
                    due = self._due(source.cable, to.cable)
                    if due is not None:
                        heapq.heappush(waiting, (due, next(order), packet, to))
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, _, packet, to = heapq.heappop(waiting)
                if not to.cable.is_cut:
                    with contextlib.suppress(OSError):
                        os.write(to.device, packet)
                        self.passed += 1

    def _due(self, *cables: Cable) -> float | None:
        """When a packet arrives behind some cables, or None if it never does."""
        due = time.monotonic()
        for cable in cables:
            if cable.is_cut or (cable.loss and self._random.random() < cable.loss):
                self.dropped += 1
                return None
            due += cable.delay + (self._random.uniform(0, cable.jitter) if cable.jitter else 0.0)
        return due


def _is_end(packet: bytes) -> bool:
    """Whether a packet has TCP's FIN."""
    flags = (packet[0] & 0xF) * 4 + 13
    return packet[9] == socket.IPPROTO_TCP and len(packet) > flags and bool(packet[flags] & 1)


@functools.cache
def why_no_hosts() -> str | None:
    """Why this machine gives tests no hosts of their own, or None if it does."""
    if sys.platform != "linux":
        return "hosts of one's own are network namespaces, which only Linux has"
    try:
        with contextlib.closing(Network()) as network:
            network.add_host()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"hosts of one's own need root, iproute2 and /dev/net/tun: {error}"
    return None


def make_network() -> Iterator[Network]:
    """A network for one test; the test skips where that is not permitted."""
    reason = why_no_hosts()
    if reason is not None:
        pytest.skip(reason)
    with contextlib.closing(Network()) as network:
        yield network
