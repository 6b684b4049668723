"""``SenderRule``: for which senders a peer may write."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from compactor.pid import PID
from compactor.settings import Settings
from compactor.system.names import ip_of

if TYPE_CHECKING:
    from compactor.tls.credentials import Tls


class SenderRule:
    """Judges the senders that the messages of a connection name.

    Args:
        must_match_address: whether they must have the IP address that the connection comes from,
            as ``LIBPROCESS_REQUIRE_PEER_ADDRESS_IP_MATCH`` asks.
        must_match_certificate: whether the certificate of the peer must name their host.
    """

    def __init__(self, must_match_address: bool, must_match_certificate: bool) -> None:
        self._must_match_address = must_match_address
        self._must_match_certificate = must_match_certificate

    def refusal(self, sender: PID, transport: asyncio.BaseTransport) -> str | None:
        """Why a peer may not write for a sender, or None if it may."""
        peer = transport.get_extra_info("peername") or ("", 0)
        if self._must_match_address and not _is_same(sender.ip, peer[0]):
            return (  # the words of libprocess
                f"UPID IP address validation failed: Message from {sender} "
                f"was sent from IP {peer[0]}:{peer[1]}"
            )
        if self._must_match_certificate:
            certificate = transport.get_extra_info("peercert")
            from compactor.tls.verify import is_for  # few contexts have TLS

            if not certificate or not is_for(certificate, sender.ip):
                return (
                    f"Message from {sender} was sent by a peer whose certificate "
                    f"does not name {sender.ip}"
                )
        return None


def sender_rule(settings: Settings, tls: Tls | None) -> SenderRule | None:
    """The rule of a context; None if it has none."""
    must_match_address = settings.require_peer_address_ip_match
    must_match_certificate = tls is not None and tls.settings.verify_sender
    if must_match_address or must_match_certificate:
        return SenderRule(must_match_address, must_match_certificate)
    return None


def _is_same(host: str, other: str) -> bool:
    """Whether two hosts are spelled alike, or are one IP address in two spellings."""
    ip = ip_of(host)
    return host == other if ip is None else ip == ip_of(other)
