"""Whether a peer takes connections, and whether both sides agree on TLS and trust."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Any

from compactor.cli.access import Access
from compactor.cli.doctor import certificates
from compactor.cli.doctor.finding import Finding, note, ok, problem
from compactor.cli.exits import Fault
from compactor.cli.http_client import HttpClient, cut_at, dial
from compactor.cli.targets import Target
from compactor.system import clock
from compactor.system.names import ip_of
from compactor.tls.failures import describe
from compactor.tls.settings import CIPHERS, PREFIX

_NOT_TLS = "not speak TLS"


class Wires:
    """The connections to one peer.

    Args:
        target: the peer.
        access: how it is to be spoken to from here.

    Attributes:
        is_open: whether it can be spoken to as the settings say.
    """

    def __init__(self, target: Target, access: Access) -> None:
        self._target = target
        self._access = access
        self._speaks_tls = False
        self.is_open = False

    def check(self) -> Iterator[Finding]:
        """Connect, and find out what is spoken there."""
        host = self._target.host
        try:
            with self._dial() as sock:
                own, there = sock.getsockname()[0], sock.getpeername()[0]
        except Fault as fault:
            yield self._unreachable(fault)
            return
        resolved = "" if there == self._target.pid.ip else f", which is {there}"
        yield ok("connect", f"{host}{resolved} takes connections from {own}")
        wanted = self._access.speaks_tls(self._target)
        # Whoever answers in plain HTTP need not be bothered with TLS, for which some wait for long.
        why = "it speaks HTTP" if not wanted and self._answers() else self._try_tls()
        if why is None or wanted:
            yield from self._agree(wanted, why)
        else:
            self.is_open = True
            yield ok("protocol", f"{host} speaks no TLS, and neither do contexts here")

    def _dial(self) -> socket.socket:
        return dial(self._target, self._access.timeout)

    def _answers(self) -> bool:
        try:
            HttpClient(self._access).ask(self._target, "/version")
        except Fault:
            return False
        return True

    def _unreachable(self, fault: Fault) -> Finding:
        text = fault.message
        if "nobody listens" in text:
            change = (
                "is the program running, on that machine? A context without LIBPROCESS_PORT has "
                "another port each time: set it there, and dial that one"
            )
        elif "firewall" in text:
            change = (
                f"have the firewalls on the way let port {self._target.pid.port} through (on that "
                "machine: nft list ruleset, and the rules of its cloud), or correct the address"
            )
        elif "no address is found" in text:
            change = "correct the name, or give its address; getent hosts NAME shows what is known"
        else:
            change = "look at the routes of this machine: ip route get ADDRESS"
        return problem("connect", text, change)

    def _try_tls(self, context: ssl.SSLContext | None = None) -> str | None:
        """Why there is no TLS; None if there is."""
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_ciphers(CIPHERS)
        try:
            until = clock.now() + self._access.timeout
            with self._dial() as plain, cut_at(until, plain):
                with context.wrap_socket(plain, server_hostname=self._target.pid.ip) as sock:
                    self._shown = chain_of(sock)
                return None
        except ssl.SSLError as error:
            why = describe(error)
            # Its alerts are those of somebody who speaks it.
            self._speaks_tls = "alert" in why or "handshake" in why or "certificate" in why
            return why
        except (OSError, ValueError, Fault) as error:
            return str(error) or "the connection was closed"

    def _agree(self, wanted: bool, why: str | None) -> Iterator[Finding]:
        host = self._target.host
        if why is not None and not self._speaks_tls:
            yield problem(
                "protocol",
                f"{host} speaks no TLS, and contexts here do ({why})",
                f"turn it on there, with {PREFIX}ENABLED=true, or off here; while a cluster moves, "
                f"{PREFIX}SUPPORT_DOWNGRADE=true lets both be spoken",
            )
        elif why is not None:
            yield problem(
                "protocol",
                f"{host} speaks TLS, but not with us: {why}",
                f"compare {PREFIX}CIPHERS and {PREFIX}ENABLE_TLS_V1_... of both sides; if it wants "
                "a certificate, set --cert and --key",
            )
        elif not wanted:
            yield problem(
                "protocol",
                f"{host} speaks TLS, and contexts here do not",
                f"turn it on here, with {PREFIX}ENABLED=true, its key, certificate and CA "
                "(compactor certs makes some), or off there",
            )
        else:
            yield from self._verify()

    def _verify(self) -> Iterator[Finding]:
        """TLS is spoken on both sides: is the certificate there good for us?"""
        host, name = self._target.host, self._target.pid.ip
        yield ok("protocol", f"{host} speaks TLS, as contexts here do")
        issuer = "somebody"
        try:
            chain = [certificates.parse(der) for der in self._shown]
            yield from certificates.check(chain, name, "certificate", "make another one there")
            issuer = repr(chain[-1].issuer)
        except ValueError as error:
            yield note("certificate", str(error))
        context = self._access.ssl_context()
        context.check_hostname = False
        if context.verify_mode is ssl.CERT_NONE:
            yield note("ca", "certificates are not verified", "leave out --insecure")
        why = self._try_tls(context)
        ca = self._ca()
        if why is None:
            self.is_open = True
            yield ok("ca", f"the certificate of {host} is signed by {ca}")
            yield from self._name(context)
        elif "expired" in why or "not yet valid" in why:
            yield problem("ca", f"{host}: {why}", "make another certificate, or set the clocks")
        else:
            yield problem(
                "ca",
                f"the certificate of {host} is signed by {issuer}, and not by {ca} ({why})",
                f"give both sides the same CA: {PREFIX}CA_FILE, or --ca, must be that of {issuer}, "
                "or the certificate there must be signed by the CA here",
            )

    def _name(self, context: ssl.SSLContext) -> Iterator[Finding]:
        if context.verify_mode is ssl.CERT_NONE:
            return
        context.check_hostname = True
        why = self._try_tls(context)
        if why is not None:
            kind = "address" if ip_of(self._target.pid.ip) else "name"
            yield problem(
                "name",
                f"the certificate there is not for the {kind} {self._target.pid.ip} ({why})",
                f"dial it by a name that it has, or make one with compactor certs --host "
                f"{self._target.pid.ip}; contexts compare addresses only with {PREFIX}VERIFY_IPADD",
            )

    def _ca(self) -> str:
        known = self._access.environment
        if self._access.ca:
            return f"the CA in {self._access.ca}"
        if known is not None and known.ca_file:
            return f"the CA in {known.ca_file} ({PREFIX}CA_FILE)"
        return "any CA that this system trusts"


def chain_of(sock: ssl.SSLSocket) -> list[bytes]:
    """The certificates that a peer shows, its own first."""
    holder: Any = sock if hasattr(sock, "get_unverified_chain") else sock._sslobj  # type: ignore[attr-defined]
    if hasattr(holder, "get_unverified_chain"):  # public since Python 3.13
        shown = holder.get_unverified_chain() or ()
        return [one if isinstance(one, bytes) else one.public_bytes(2) for one in shown]
    own = sock.getpeercert(True)
    return [own] if own else []
