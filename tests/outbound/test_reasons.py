"""What errors of the system say in exits and dead letters."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl

import pytest

from compactor import Reason
from compactor.outbound.reasons import why_lost, why_not_dialled
from compactor.tls.failures import TlsError


def of(number: int) -> OSError:
    """What Python makes of an error number."""
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (of(errno.ECONNREFUSED), Reason.REFUSED),
        (of(errno.ECONNRESET), Reason.RESET),
        (of(errno.EPIPE), Reason.RESET),
        (of(errno.ENOTCONN), Reason.RESET),  # of who asks for the peer after such a reset
        (of(errno.ETIMEDOUT), Reason.TIMEOUT),
        (asyncio.TimeoutError(), Reason.TIMEOUT),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), Reason.UNRESOLVED),
        (socket.gaierror(socket.EAI_AGAIN, "no server answers"), Reason.UNRESOLVED),
        (UnicodeError("no name has a label of 64 bytes"), Reason.UNRESOLVED),
        (TlsError("no TLS"), Reason.TLS),
        (ssl.SSLError("wrong version"), Reason.TLS),
        (of(errno.EHOSTUNREACH), Reason.UNREACHABLE),
        (of(errno.EMFILE), Reason.UNREACHABLE),
        (of(errno.EADDRNOTAVAIL), Reason.UNREACHABLE),
        (MemoryError(), Reason.UNREACHABLE),
    ],
)
def test_a_peer_that_cannot_be_dialled_is_gone_for_the_reason_of_the_error(
    error: Exception, reason: Reason
) -> None:
    assert why_not_dialled(error) is reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, Reason.CLOSED),
        (of(errno.ECONNRESET), Reason.RESET),
        (of(errno.EPIPE), Reason.RESET),
        (of(errno.ETIMEDOUT), Reason.TIMEOUT),
        (of(errno.EHOSTUNREACH), Reason.UNREACHABLE),
        (ssl.SSLError("bad record"), Reason.TLS),
    ],
)
def test_a_connection_that_ended_is_lost_for_the_reason_of_the_error(
    error: Exception | None, reason: Reason
) -> None:
    assert why_lost(error) is reason
