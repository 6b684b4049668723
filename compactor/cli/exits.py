"""How commands end: ``Exit``, the codes that scripts see; ``Fault`` ends one with a line."""

from __future__ import annotations

import enum
from typing import IO, Any

import click

from compactor.errors import Reason
from compactor.metrics.logs import readable


class Exit(enum.IntEnum):
    """What a script is told; docs/command.md has the table."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    UNREACHABLE = 3
    TLS = 4
    DENIED = 5
    NOT_FOUND = 6
    REFUSED = 7
    TIMEOUT = 8
    FINDINGS = 9
    FAILED = 10
    LOST = 11
    INTERRUPTED = 130
    PIPE = 141


class Fault(click.ClickException):
    """A command cannot do what it was told; the text says why, and what would help.

    Args:
        code: what the command ends with.
        message: one line, or several.
    """

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it; what peers have chosen cannot move the cursor."""
        lines = [readable(line) for line in self.message.splitlines()]
        click.echo("\n".join([f"Error: {lines[0]}", *lines[1:]]), file=file, err=file is None)


def note(message: str) -> None:
    """Tell what the output lacks, without ending the command."""
    click.echo(f"Note: {readable(message)}", err=True)


_OF_REASONS = {
    Reason.REFUSED: Exit.UNREACHABLE,
    Reason.RESET: Exit.LOST,
    Reason.CLOSED: Exit.LOST,
    Reason.TLS: Exit.TLS,
    Reason.TIMEOUT: Exit.UNREACHABLE,
    Reason.UNRESOLVED: Exit.UNREACHABLE,
    Reason.UNREACHABLE: Exit.UNREACHABLE,
    Reason.TERMINATED: Exit.DONE,
    Reason.FAILED: Exit.FAILED,
    Reason.NO_PROCESS: Exit.NOT_FOUND,
    Reason.NO_HANDLER: Exit.NOT_FOUND,
    Reason.SENDER_REFUSED: Exit.DENIED,
    Reason.REJECTED: Exit.REFUSED,
}


def exit_of(reason: Reason) -> Exit:
    """What a command ends with that waited for the end of a process, by its reason."""
    return _OF_REASONS.get(reason, Exit.ERROR)
