"""The address that pids of contexts here carry, and whether it leads back here."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Iterator

from compactor.cli.doctor.finding import Finding, note, ok, problem
from compactor.cli.exits import Fault
from compactor.cli.http_client import dial
from compactor.cli.targets import Target
from compactor.errors import SettingsError
from compactor.inbound.listen import own_addresses
from compactor.pid import PID, Address
from compactor.settings import Settings
from compactor.system.names import ip_of
from compactor.system.system import system

_SET = "LIBPROCESS_ADVERTISE_IP and LIBPROCESS_ADVERTISE_PORT"


class OwnAddress:
    """A port that listens as a context here would, and tells who has come.

    Attributes:
        bound, advertised: what it listens at, and what pids would say; None if it cannot listen.
        is_taken: whether another program listens there, which then is what is looked at.
        came: the addresses that have connected.
    """

    def __init__(self) -> None:
        self.bound: Address | None = None
        self.advertised: Address | None = None
        self.is_taken = False
        self.came: list[str] = []
        self.findings: list[Finding] = []
        self._sock: socket.socket | None = None
        self._mark = system().random_bytes(16)

    @contextlib.contextmanager
    def listening(self) -> Iterator[OwnAddress]:
        """Listen meanwhile."""
        try:
            self._listen()
            if self._sock is not None:
                threading.Thread(target=self._accept, args=(self._sock,), daemon=True).start()
            yield self
        finally:
            if self._sock is not None:
                with contextlib.suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)  # wakes the thread
                self._sock.close()

    def _listen(self) -> None:
        try:
            settings = Settings.from_environ()
        except SettingsError:  # another check has told it
            return
        try:
            sock = system().bind(settings.ip, settings.port)
            self._sock = sock
            sock.listen(16)
            self.bound = sock.getsockname()[:2]
        except OSError as error:
            self._not_bound(settings, error)
        if self.bound is None:
            return
        ip = settings.advertise_ip or self.bound[0]
        if ip in ("0.0.0.0", "::"):
            outward = own_addresses()
            ip = outward[0] if outward else "127.0.0.1"
        self.advertised = (ip, settings.advertise_port or self.bound[1])

    def _not_bound(self, settings: Settings, error: OSError) -> None:
        where = f"{settings.ip}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            self.is_taken = True
            self.bound = (settings.ip, settings.port)
            text = f"a program listens at {where} already, which is taken for your context"
            self.findings.append(note("address", text))
        elif error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
            own = ", ".join(own_addresses()) or "127.0.0.1"
            text = f"no interface of this machine has {settings.ip}, so nothing can listen there"
            change = f"LIBPROCESS_IP must be an address of this machine, such as {own}, or unset"
            self.findings.append(problem("address", text, change))
        else:
            text = f"nothing can listen at {where}: {error.strerror}"
            change = "set LIBPROCESS_PORT to another port, above 1023, or unset it"
            self.findings.append(problem("address", text, change))

    def _accept(self, sock: socket.socket) -> None:
        while True:
            try:
                connection, address = sock.accept()
            except OSError:
                return
            self.came.append(str(address[0]))
            with connection, contextlib.suppress(OSError):
                connection.sendall(self._mark)

    def check(self, timeout: float) -> Iterator[Finding]:
        """Whether the advertised address leads back here, from here."""
        yield from self.findings
        if self.advertised is None or self.bound is None:
            return
        target = Target(PID(*self.advertised, ""))
        bound = PID(*self.bound, "").host
        said = f"pids say {target.host}"
        said += "" if target.host == bound else f"; what listens is {bound}"
        ip = ip_of(self.advertised[0])
        try:
            is_here = self._leads_here(target, timeout)
        except Fault as fault:
            yield problem(
                "address",
                f"{said}; from here that is not reached: {fault.message.partition(';')[0]}",
                f"peers answer to that address: set {_SET} to where they reach this machine, or "
                "unset them",
            )
            return
        if not is_here:
            yield problem(
                "address",
                f"{said}; from here another program answers there",
                f"peers would talk to that one: set {_SET} to where they reach this machine",
            )
        elif ip is not None and ip.is_loopback:
            yield note(
                "address",
                f"{said}, which only programs on this machine can reach",
                "if peers are elsewhere, set LIBPROCESS_IP or LIBPROCESS_ADVERTISE_IP to an "
                "address of this machine",
            )
        else:
            yield ok("address", f"{said}; from here that is reached")

    def _leads_here(self, target: Target, timeout: float) -> bool:
        with dial(target, timeout) as connection:
            if self.is_taken:
                return True
            told = b""
            connection.settimeout(timeout)
            with contextlib.suppress(OSError):
                while len(told) < len(self._mark) and (piece := connection.recv(64)):
                    told += piece
            return told == self._mark
