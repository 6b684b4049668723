"""The context of a command that has to be answered, or to watch: bound towards its peer."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from compactor.cli.access import Access
from compactor.cli.exits import Exit, Fault
from compactor.cli.targets import Target
from compactor.context import Context
from compactor.errors import ContextError
from compactor.metrics.logs import log
from compactor.settings import Settings
from compactor.system.names import ip_of
from compactor.system.system import system

Command = TypeVar("Command", bound=Callable[..., Any])

_MOST_LINES = 5  # of the log that are told with a failure


def own_context_options(command: Command) -> Command:
    """Give a command the options of its own address: ``bind`` and ``advertise``."""
    for option in (
        click.option(
            "--advertise",
            metavar="IP[:PORT]",
            help="Where the peer reaches this command; for NAT. Default: LIBPROCESS_ADVERTISE_IP.",
        ),
        click.option(
            "--bind",
            metavar="IP[:PORT]",
            help="Where to listen. Default: LIBPROCESS_IP, else the address towards the peer.",
        ),
    ):
        command = option(command)
    return command


@contextlib.contextmanager
def own_context(
    target: Target, access: Access, bind: str | None, advertise: str | None
) -> Iterator[tuple[Context, list[str]]]:
    """A context that can talk to a target, and what it logs.

    Raises:
        Fault: it cannot listen.
    """
    ip, port = _address("--bind", bind)
    advertise_ip, advertise_port = _address("--advertise", advertise)
    if ip is None and "LIBPROCESS_IP" not in os.environ:
        ip = address_towards(target)
    tls = access.settings_of_own_context(access.speaks_tls(target))
    settings = Settings(warn_unprotected=False, linger=0.2, connect_timeout=access.timeout)
    with _lines_of_the_log() as lines:
        try:
            with _ports_left_alone():
                context = Context(
                    ip=ip,
                    port=port,
                    advertise_ip=advertise_ip,
                    advertise_port=advertise_port,
                    settings=settings,
                    tls=tls or False,
                )
        except ContextError as error:
            raise Fault(Exit.USAGE, str(error)) from None
        try:
            yield context, lines
        finally:
            context.stop()
            context.join(settings.linger + 1)


@contextlib.contextmanager
def _ports_left_alone() -> Iterator[None]:
    """The ports that variables name are those of the program whose environment this is."""
    names = ("LIBPROCESS_PORT", "LIBPROCESS_ADVERTISE_PORT")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


def address_towards(target: Target) -> str:
    """The own address from which a target is dialled; loopback if no network leads there."""
    host, port = target.pid.address
    ip = ip_of(host)
    try:
        found = (
            [(0, str(ip))]
            if ip
            else [
                (int(family), str(place[0]))
                for family, *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            ]
        )
    except (OSError, UnicodeError):
        return "127.0.0.1"
    towards = found[0][1]
    family = socket.AF_INET6 if ":" in towards else socket.AF_INET
    loopback = "::1" if family is socket.AF_INET6 else "127.0.0.1"
    return system().address_towards(family, (towards, port)) or loopback


def _address(option: str, text: str | None) -> tuple[str | None, int | None]:
    if text is None:
        return None, None
    if text.startswith("[") or text.count(":") == 1:
        ip, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    else:
        ip, port = text, ""
    if port and not (port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        raise Fault(Exit.USAGE, f"{option} {text}: the port must be a number from 0 to 65535")
    if ip_of(ip.strip("[]")) is None:
        raise Fault(Exit.USAGE, f"{option} {text}: give an IP address, and a port if you like")
    return ip.strip("[]"), int(port) if port else None


@contextlib.contextmanager
def _lines_of_the_log() -> Iterator[list[str]]:
    """What a context logs meanwhile, instead of in the middle of the output."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if (
                len(lines) < _MOST_LINES
                and not text.startswith("dead letter")
                and text not in lines
            ):
                lines.append(text)

    handler, propagates = Keep(logging.WARNING), log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield lines
    finally:
        log.removeHandler(handler)
        log.propagate = propagates


def with_lines(message: str, lines: list[str]) -> str:
    """A message, and what was logged."""
    return "\n".join([message, *(f"  {line}" for line in lines)])
