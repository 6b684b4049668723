"""Errors, and answers that refuse, as the reasons that exits and dead letters give."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl

from compactor.errors import Reason
from compactor.http.status import STOPPING
from compactor.tls.failures import TlsError
from compactor.wire.response_decoder import KEPT_BODY_BYTES, Answer

_NOT_ITS_ADDRESS = b"UPID IP address validation failed"[:KEPT_BODY_BYTES]
"""How libprocess's answer begins to messages that do not come from their sender's IP address."""

_NO_WAY = {errno.EHOSTUNREACH, errno.ENETUNREACH, getattr(errno, "EHOSTDOWN", None)}
"""What a network near by says of a machine that it cannot find any more."""


def why_not_dialled(error: Exception) -> Reason:
    """Why a peer could not be connected to."""
    if isinstance(error, (TlsError, ssl.SSLError)):
        return Reason.TLS
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):  # two classes in Python 3.10
        return Reason.TIMEOUT
    if isinstance(error, ConnectionRefusedError):
        return Reason.REFUSED
    if isinstance(error, (socket.gaierror, UnicodeError)):  # no name can look like the latter
        return Reason.UNRESOLVED
    if isinstance(error, ConnectionError):  # it was accepted, and broke before it could be used
        return Reason.RESET
    if isinstance(error, OSError) and error.errno == errno.ENOTCONN:  # so does the system say it
        return Reason.RESET
    return Reason.UNREACHABLE


def why_lost(error: Exception | None) -> Reason:
    """Why an open connection ended; without an error, the peer has closed it."""
    if error is None:
        return Reason.CLOSED
    if isinstance(error, ssl.SSLError):
        return Reason.TLS
    if isinstance(error, TimeoutError):
        return Reason.TIMEOUT
    if isinstance(error, OSError) and error.errno in _NO_WAY:
        return Reason.UNREACHABLE
    return Reason.RESET


def why_refused(answer: Answer) -> Reason:
    """Why a peer did not take a message, by its answer: 400 or more."""
    # A 404 of libprocess says that there is no such process; other servers (Go's, say) mean the
    # path, and spell the body in another way.
    if answer.status == 404 and answer.body == b"404 Not Found.":
        return Reason.NO_PROCESS
    if answer.status == 400 and answer.body == _NOT_ITS_ADDRESS:
        return Reason.SENDER_REFUSED
    return Reason.REJECTED


def may_live(answer: Answer) -> bool:
    """Whether the process may live on although an error answers its message.

    compactor 0.3.0 answers 405 to names that a process does not know, and 500 when a handler
    raises, which is told from the 500 of others by tornado's page.  A context that is about to stop
    tells of the ends of its processes when they come.
    """
    return (
        answer.status == 405
        or answer.body == STOPPING[:KEPT_BODY_BYTES]
        or answer.body.startswith(b"<html><title>500")
    )
