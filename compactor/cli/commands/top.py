"""``compactor top``."""

from __future__ import annotations

import sys

import click

from compactor.cli.access import Access, access_options
from compactor.cli.exits import Exit, Fault
from compactor.cli.http_client import HttpClient
from compactor.cli.snapshot import look
from compactor.cli.targets import Target, context, context_of_environment


@click.command(
    help=(
        "Watch a context.\n\n"
        "Its processes, their mailboxes and rates, the lag of its loop, and what is parked; by "
        "default of the context that LIBPROCESS_IP and LIBPROCESS_PORT tell. F1 shows the keys, "
        "which are those of htop."
    )
)
@click.argument("context", type=context, required=False)
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1, max=3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@access_options
def top(context: Target | None, interval: float, access: Access) -> None:
    target = context or context_of_environment()
    if not is_on_a_terminal():
        raise Fault(Exit.USAGE, "top needs a terminal; compactor ps and metrics need none")
    try:
        from compactor.cli.top.screen import Top
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("textual", "rich"):
            raise
        raise Fault(
            Exit.ERROR, f"top needs the package {package}: pip install 'compactor[cli]'"
        ) from None
    client = HttpClient(access)
    first = look(client, target)  # else the screen would flash up for an error
    screen = Top(client, target, interval, first)
    screen.run()
    raise click.exceptions.Exit(screen.return_code or 0)


def is_on_a_terminal() -> bool:
    """Whether there is a screen to draw on."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
