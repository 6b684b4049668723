"""The ``compactor`` command: the group of all others, each imported when it is used."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from typing import Any

import click

from compactor._version import __version__
from compactor.cli.exits import Exit, Fault
from compactor.errors import CompactorError

_COMMANDS = {
    name: f"compactor.cli.commands.{name.partition('-')[0]}:{name.replace('-', '_')}"
    for name in (
        *("ask", "bench", "bench-part", "certs", "demo", "demo-follower", "demo-leader"),
        "doctor",
        "help",
        "logs",
        "metrics",
        "ps",
        "top",
        *("send", "serve", "settings", "version", "watch"),
    )
}


_COMMANDS["help"] += "_"  # as one of Python's own is called


class _Group(click.Group):
    """Imports a command when it is asked for, and ends well whatever happens."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; Control-C and a reader that leaves end it without a word."""
        try:
            result = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
            return result
        except KeyboardInterrupt:
            raise click.exceptions.Exit(Exit.INTERRUPTED) from None
        except OSError as error:
            _write_no_more()
            if error.errno != errno.EPIPE:
                raise Fault(Exit.ERROR, str(error)) from error
            raise click.exceptions.Exit(Exit.PIPE) from None

    def main(self, *args: Any, standalone_mode: bool = True, **kw: Any) -> Any:
        """Run a command as a program: what a user does wrong is told without a traceback."""
        of_click: Any = super()  # whose overloads no checker follows
        if not standalone_mode:
            return of_click.main(*args, standalone_mode=False, **kw)
        try:
            code = of_click.main(*args, standalone_mode=False, **kw)
        except click.ClickException as error:
            error.show()
            code = error.code if isinstance(error, Fault) else error.exit_code
        except click.Abort:
            code = Exit.INTERRUPTED
        except CompactorError as error:
            Fault(Exit.ERROR, str(error)).show()
            code = Exit.ERROR
        sys.exit(code if isinstance(code, int) else Exit.DONE)


def _write_no_more() -> None:
    """Have nothing written at the end of Python that could not be written now."""
    if sys.stdout is not None:
        with contextlib.suppress(OSError, ValueError):  # of a test, which has no descriptor
            output, nowhere = sys.stdout.fileno(), os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, output)
            os.close(nowhere)


@click.command(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Actors that speak libprocess, the wire of Apache Mesos.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def compactor() -> None:
    pass
