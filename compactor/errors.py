"""The errors that compactor raises, and the reasons that it gives for what it could not deliver."""

from __future__ import annotations

import enum


class CompactorError(Exception):
    """The base of every error that compactor raises on purpose."""


class ContextError(CompactorError):
    """A context could not do what was asked; also known as ``Context.Error``."""


class NotOneProcess(ContextError, AttributeError):
    """A context has no process, or several, so none is meant by its ``pid``."""


class SettingsError(ContextError, ValueError):
    """An argument or environment variable has a value that cannot be used."""


class SocketError(ContextError, OSError):
    """The listening socket could not be opened; also known as ``Context.SocketError``."""


class InvalidProcess(ContextError):
    """A pid does not name a live process of this context; ``Context.InvalidProcess``."""


class InvalidMethod(ContextError):
    """A process has no such method; also known as ``Context.InvalidMethod``."""


class ContextStopped(ContextError):
    """The context has been stopped; make a new one."""


class ProcessError(CompactorError):
    """A process was used in a way it does not allow; also known as ``Process.Error``."""


class UnboundProcess(ProcessError, AttributeError):
    """The process has not been spawned yet; also known as ``Process.UnboundProcess``.

    An AttributeError, for tools that look at all attributes of an object expect no other.
    """


class ProcessTerminated(ProcessError):
    """The process ended before it could run what was dispatched to it."""


class AskFailed(ProcessError):
    """An ask gets no answer: whom was asked has ended, refused it, or cannot be reached.

    Args:
        message: what was asked, and of whom.
        reason: why it is not answered.
    """

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class Draining(AskFailed):
    """What was asked is about to stop, and has not handled this ask: another one may.

    Args:
        message: what was asked, and of whom.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, Reason.DRAINING)


class AskTimeout(ProcessError, TimeoutError):
    """An ask was not answered in its time."""


class RemoteError(ProcessError):
    """The handler that was asked has raised an error.

    Args:
        type: the name of the type of that error.
        text: what it says.
    """

    def __init__(self, type: str, text: str) -> None:
        super().__init__(f"{type}: {text}" if text else type)
        self.type = type
        self.text = text


class MissingPackage(CompactorError, ImportError):
    """A package that an extra of this one brings is not installed."""


class LocalProtocolError(CompactorError, ValueError):
    """The caller gave something that cannot be put on the wire."""


class RemoteProtocolError(CompactorError):
    """The peer sent something that is not a request.

    Args:
        message: what was wrong.
        status: the HTTP status to answer with before the connection is closed.

    Attributes:
        is_head: whether that answers a ``HEAD``, and has no body.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.is_head = False


class Reason(str, enum.Enum):
    """Why a linked process exited, or why a message became a dead letter.

    Members are strings: ``reason == "refused"`` holds for ``Reason.REFUSED``.
    """

    REFUSED = "refused"  #: nobody listens at the address
    RESET = "reset"  #: the connection was reset, or broke while writing
    CLOSED = "closed"  #: the peer closed the connection
    TLS = "tls"  #: no TLS with the peer: a handshake failed, or its certificate was refused
    TIMEOUT = "timeout"  #: connecting took too long, or the machine no longer answers
    UNRESOLVED = "unresolved"  #: no address was found for the host name
    UNREACHABLE = "unreachable"  #: no route, no descriptor, or another error of the system
    TERMINATED = "terminated"  #: the process ended while its context lives on
    FAILED = "failed"  #: it ended so because it failed, as ``on_failure`` says; or its message did
    NO_PROCESS = "no such process"  #: nobody of that name lives at the address
    NO_HANDLER = "no handler"  #: the process has no handler for that name
    SENDER_REFUSED = "sender refused"  #: the peer may not write for that sender
    REJECTED = "rejected"  #: the peer answered a message with an error that says no more
    OVERFLOW = "overflow"  #: more is waiting already than the bound allows
    DISCONNECTED = "disconnected"  #: this side cut the connection
    STOPPED = "stopped"  #: this context was stopped
    DRAINING = "draining"  #: an ask was not handled, for whom was asked is about to stop

    def __str__(self) -> str:
        return self.value
