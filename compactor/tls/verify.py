"""``Verifier``: whether a peer is who it must be, by its certificate.

OpenSSL finds out whether a certificate is valid and, by the scheme ``openssl``, whether it has the
name that was dialled.  Left are the depth of its chain and libprocess's own scheme ``legacy``, by
which the certificate must have the name that DNS gives for the address of the peer.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from compactor.system.names import ip_of
from compactor.system.system import system
from compactor.tls.failures import TlsError
from compactor.tls.settings import PREFIX, TlsSettings

Check = Callable[[ssl.SSLObject, str], Awaitable[None]]
"""Is awaited with a connection and the IP address of its peer; raises ``TlsError``."""


class Verifier:
    """What is asked of peers.

    Args:
        settings: the rules.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings

    def name_to_verify(self, host: str) -> str | None:
        """What OpenSSL is to look for in the certificate of a dialled peer.

        Raises:
            TlsError: by the rules nothing in a certificate can name that host.
        """
        settings = self._settings
        if not settings.verify_server_cert or settings.hostname_validation_scheme == "legacy":
            return None
        if ip_of(host) is not None and not settings.verify_ipadd:
            raise TlsError(
                f"the peer is known as {host} only, and certificates are searched for host names: "
                f"set verify_ipadd ({PREFIX}VERIFY_IPADD) to have them searched for addresses"
            )
        return host

    def check_of(self, server_side: bool) -> Check | None:
        """What must be awaited before anything is read from a peer; None if there is nothing.

        Args:
            server_side: whether the peer dialled.
        """
        settings = self._settings
        needed = settings.require_client_cert if server_side else settings.verify_server_cert
        return self._check if needed else None

    async def _check(self, connection: ssl.SSLObject, peer_ip: str) -> None:
        """Ask of a peer, whose certificate OpenSSL has found valid, what OpenSSL does not.

        Raises:
            TlsError: the peer is refused.
        """
        settings = self._settings
        _check_depth(connection, settings.verification_depth)
        if settings.hostname_validation_scheme == "legacy":
            await self._check_name(connection, peer_ip)

    async def _check_name(self, connection: ssl.SSLObject, peer_ip: str) -> None:
        settings = self._settings
        ip = ip_of(peer_ip)
        if isinstance(ip, ipaddress.IPv4Address):
            peer_ip = str(ip)
        name = await system().name_of(peer_ip)
        if name is None and not settings.verify_ipadd:
            if settings.require_client_cert:
                raise TlsError(f"no name is known for {peer_ip}, so its certificate says nothing")
            return
        certificate = connection.getpeercert() or {}
        names, addresses = names_in(certificate)
        if settings.verify_ipadd and ip in addresses:
            return
        subject: Any = certificate.get("subject", ())
        names += [value for part in subject for key, value in part if key == "commonName"]
        if name is None or name.lower() not in [found.lower() for found in names]:
            raise TlsError(
                f"the certificate is for {', '.join(map(str, names + addresses)) or 'nobody'}, "
                f"and the peer is {f'{name} ({peer_ip})' if name else peer_ip}"
            )


def names_in(certificate: Any) -> tuple[list[str], list[Any]]:
    """The host names and the IP addresses that a certificate, as a dict, is for."""
    names, addresses = [], []
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "DNS":
            names.append(value)
        elif kind == "IP Address":
            addresses.append(ip_of(value.strip()))
    return names, addresses


def is_for(certificate: Any, host: str) -> bool:
    """Whether a certificate, as a dict, names a host: an IP address, or a name in full."""
    names, addresses = names_in(certificate)
    ip = ip_of(host)
    return ip in addresses if ip is not None else host.lower() in [n.lower() for n in names]


def _check_depth(connection: ssl.SSLObject, depth: int) -> None:
    # Public since Python 3.13; before, the object inside has it under the same name.
    holder: Any = connection if hasattr(connection, "get_verified_chain") else connection._sslobj  # type: ignore[attr-defined]
    between = len(holder.get_verified_chain() or ()) - 2  # without the peer's own, and the CA
    if between > depth:
        raise TlsError(
            f"{between} certificates stand between that of the peer and its CA; "
            f"verification_depth allows {depth}"
        )
