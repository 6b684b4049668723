"""``compactor ps``."""

from __future__ import annotations

import dataclasses
import time

import click

from compactor.cli.access import Access, access_options
from compactor.cli.at_once import at_once
from compactor.cli.exits import Fault, note
from compactor.cli.http_client import HttpClient
from compactor.cli.output import json_option, number, print_json, print_table
from compactor.cli.snapshot import Row, Snapshot, look, rows
from compactor.cli.targets import Target, context, context_of_environment
from compactor.cli.worker_tree import with_workers

_COLUMNS = {
    "WAITING": "waiting",
    "PEAK": "peak",
    "PER S": "rate",
    "HANDLED": "handled",
    "FAILED": "failures",
    "RESTARTS": "restarts",
    "P99 MS": "p99",
}
_INTERNAL = "__"  # how the ids of libprocess's own processes begin


@click.command(
    help=(
        "List processes.\n\n"
        "Those of each CONTEXT, by default of the one that LIBPROCESS_IP and LIBPROCESS_PORT tell: "
        "the events in their mailboxes, and what they have handled. C++ tells no more than the "
        "events. The workers of a context are listed below it."
    )
)
@click.argument("contexts", metavar="[CONTEXT...]", nargs=-1, type=context)
@click.option("--all", "shows_all", is_flag=True, help="Show libprocess's own processes, too.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0, max=3600),
    default=0.5,
    show_default=True,
    help="Seconds over which rates are measured; 0 for no rates.",
)
@access_options
@json_option
def ps(
    contexts: tuple[Target, ...], shows_all: bool, interval: float, access: Access, as_json: bool
) -> None:
    client = HttpClient(access)
    found: list[tuple[str, Target, list[Row]]] = []
    faults: list[Fault] = []
    places = with_workers(client, contexts or (context_of_environment(),))
    looked = _look_at_all(client, [target for target, _ in places], interval)
    for (target, name), listed in zip(places, looked, strict=True):
        if isinstance(listed, Fault):  # of one of them; the others are shown
            faults.append(listed)
        else:
            found.append((name, target, listed))
    if not shows_all:
        found = [
            (name, target, [row for row in listed if not row.id.startswith(_INTERNAL)])
            for name, target, listed in found
        ]
    if as_json:
        print_json(
            [
                {"context": target.host, **dataclasses.asdict(row)}
                for _, target, listed in found
                for row in listed
            ]
        )
    elif found:
        _print([(name, listed) for name, _, listed in found])
    for one in faults:
        one.show()
    if faults:
        raise click.exceptions.Exit(faults[0].code)


def _look_at_all(
    client: HttpClient, targets: list[Target], interval: float
) -> list[list[Row] | Fault]:
    """The processes of each context; of all of them the rates are measured in the same seconds."""
    first = at_once(lambda target: look(client, target), targets)
    again = [
        at
        for at, found in enumerate(first)
        if interval and isinstance(found, Snapshot) and found.of_processes
    ]
    if again:
        time.sleep(interval)
    second = dict(zip(again, at_once(lambda at: look(client, targets[at]), again), strict=True))
    return [_rows(found, second.get(at)) for at, found in enumerate(first)]


def _rows(first: Snapshot | Fault, second: Snapshot | Fault | None) -> list[Row] | Fault:
    """The processes of a context, from what it has said once, or twice."""
    now, before = (first, None) if second is None else (second, first)
    if isinstance(now, Fault):
        return now
    if now.without:
        note(now.without)
    earlier = before if isinstance(before, Snapshot) else None
    return sorted(rows(now, earlier), key=lambda row: row.id)


def _print(found: list[tuple[str, list[Row]]]) -> None:
    columns: dict[str, list[str]] = {name: [] for name in ("CONTEXT", "ID", *_COLUMNS)}
    for place, listed in found:
        for row in listed:
            columns["CONTEXT"].append(place)
            columns["ID"].append(row.id)
            for name, attribute in _COLUMNS.items():
                columns[name].append(number(getattr(row, attribute)))
    if len(found) == 1:
        del columns["CONTEXT"]
    # What nobody tells has no column.
    shown = {name: cells for name, cells in columns.items() if set(cells) != {"-"}}
    right = [at for at, name in enumerate(shown) if name in _COLUMNS]
    print_table([*shown], zip(*shown.values(), strict=True), right)
