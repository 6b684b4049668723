"""``compactor metrics``."""

from __future__ import annotations

import fnmatch

import click

from compactor.cli.access import Access, access_options
from compactor.cli.exits import Exit, Fault
from compactor.cli.http_client import HttpClient
from compactor.cli.output import echo, json_option, number, print_json
from compactor.cli.snapshot import numbers
from compactor.cli.targets import Target, context
from compactor.metrics.logs import readable


@click.command(
    help=(
        "Print what a context has counted.\n\n"
        "All numbers of CONTEXT, or those whose names match a PATTERN, such as 'dead_letters*'."
    )
)
@click.argument("context", type=context)
@click.argument("patterns", metavar="[PATTERN...]", nargs=-1)
@access_options
@json_option
def metrics(context: Target, patterns: tuple[str, ...], access: Access, as_json: bool) -> None:
    told = numbers(HttpClient(access), context)
    shown = {
        name: value
        for name, value in told.items()
        if not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }
    if patterns and not shown:
        which = ", ".join(map(repr, patterns))
        raise Fault(Exit.NOT_FOUND, f"no metric of {context.host} matches {which}")
    if as_json:
        print_json(shown)
        return
    width = max((len(readable(name)) for name in shown), default=0)
    for name, value in shown.items():
        echo(f"{readable(name):<{width}}  {number(value, exact=True)}")
