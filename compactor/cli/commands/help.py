"""``compactor help``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from compactor.cli.access import Access, access_options
from compactor.cli.exits import Exit, Fault
from compactor.cli.http_client import HttpClient
from compactor.cli.output import echo, json_option, print_json, print_markdown, print_table
from compactor.cli.targets import Target, context

_SUMMARY = re.compile(r"^### TL;DR; ###\n(.+)$", re.M)


class _Entry(NamedTuple):
    path: str  # of a route, or the id and the name of a message
    kind: str
    text: str


@click.command(
    "help",
    help=(
        "Show what a context serves.\n\n"
        "The routes and messages of the processes of CONTEXT, or the help on those whose path is "
        "PATH or below, such as /metrics/snapshot or /master. Without CONTEXT, all commands."
    ),
)
@click.argument("context", type=context, required=False)
@click.argument("path", required=False)
@access_options
@json_option
def help_(context: Target | None, path: str | None, access: Access, as_json: bool) -> None:
    if context is None:
        of_all = click.get_current_context().find_root()
        echo(of_all.get_help())
        return
    told = HttpClient(access).json(context, "/help?format=json")
    try:
        entries = list(_entries(told))
    except (LookupError, TypeError, AttributeError):
        raise Fault(Exit.REFUSED, f"{context.host} has no help as libprocess has it") from None
    if path is not None:
        wanted = "/" + path.strip("/")
        entries = [e for e in entries if e.path == wanted or e.path.startswith(f"{wanted}/")]
        if not entries:
            raise Fault(Exit.NOT_FOUND, f"{context.host} has no help on {wanted}")
    if as_json:
        print_json([entry._asdict() for entry in entries])
    elif path is None:
        table = [(entry.path, entry.kind, _summary(entry.text)) for entry in entries]
        print_table(("PATH", "KIND", "SUMMARY"), table)
    else:
        print_markdown("\n\n".join(entry.text.strip() for entry in entries))


def _entries(told: Any) -> Iterator[_Entry]:
    for process in told["processes"]:
        for kind, list_ in (("route", "endpoints"), ("message", "messages")):
            for entry in process.get(list_, ()):
                name = str(entry["name"])
                path = f"/{process['id']}/{name.lstrip('/')}".rstrip("/")
                yield _Entry(path, kind, str(entry["text"]))


def _summary(text: str) -> str:
    found = _SUMMARY.search(text)
    return found[1].strip() if found else ""
