"""What commands are pointed at: contexts, ``host:port``, and processes, ``id@host:port``."""

from __future__ import annotations

import os
from dataclasses import dataclass

import click

from compactor.pid import PID

_EXAMPLES = "127.0.0.1:5050, https://box.example.com:5050, or master@127.0.0.1:5050"


@dataclass(frozen=True)
class Target:
    """A context, and maybe a process there.

    Attributes:
        pid: where it is; the id is empty if no process is meant.
        tls: whether it speaks TLS; None if that was not said.
    """

    pid: PID
    tls: bool | None = None

    @property
    def host(self) -> str:
        """``ip:port``, with brackets where they are needed."""
        return self.pid.host

    def __str__(self) -> str:
        return str(self.pid) if self.pid.id else self.pid.host


def parse_target(text: str) -> Target:
    """Parse ``host:port``, ``http://host:port``, ``https://host:port`` or ``id@host:port``.

    Raises:
        ValueError: it is none of them; the text says what is wrong.
    """
    scheme, found, rest = text.partition("://")
    if not found:
        rest, scheme = text, ""
    elif scheme not in ("http", "https"):
        raise ValueError(f"{scheme!r} is neither http nor https; give {_EXAMPLES}")
    tls = {"": None, "http": False, "https": True}[scheme]
    rest = rest.rstrip("/") if found else rest
    try:
        pid = PID.from_string(rest if "@" in rest else f"@{rest}")
    except ValueError as error:
        if "is not of the form" not in str(error) or "@" in rest:
            raise
        raise ValueError(f"{text!r} has no port, or no host: give {_EXAMPLES}") from None
    if pid.port == 0:
        raise ValueError(f"nobody listens at port 0, as in {text!r}")
    return Target(pid, tls)


def context(value: str) -> Target:
    """The type of a parameter that is a context: its address, or the pid of any process of it."""
    try:
        return parse_target(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def context_of_environment() -> Target:
    """The context that variables tell: that of a program with the same environment.

    Raises:
        UsageError: they tell none.
    """
    environ = os.environ
    ip = environ.get("LIBPROCESS_ADVERTISE_IP") or environ.get("LIBPROCESS_IP") or "127.0.0.1"
    ip = "127.0.0.1" if ip == "0.0.0.0" else ip
    port = environ.get("LIBPROCESS_ADVERTISE_PORT") or environ.get("LIBPROCESS_PORT") or "0"
    try:
        return parse_target(f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}")
    except ValueError:
        raise click.UsageError(
            f"give a context, such as {_EXAMPLES}; LIBPROCESS_PORT tells of none"
        ) from None


def process(value: str) -> PID:
    """The type of a parameter that is a process, by its pid."""
    try:
        pid = PID.from_string(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}; give one such as master@127.0.0.1:5050") from None
    if not pid.id:
        raise click.BadParameter(f"{value!r} names no process before the @")
    if pid.port == 0:
        raise click.BadParameter(f"nobody listens at port 0, as in {value!r}")
    return pid
