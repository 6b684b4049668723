"""``compactor bench``, and the hidden command that it starts."""

from __future__ import annotations

import click

from compactor.cli.bench.contest import Bench
from compactor.cli.bench.roles import ROLES, run_role
from compactor.cli.child import ChildError
from compactor.cli.output import json_option, print_json
from compactor.cli.source_tree import stale, without_extensions


@click.command(
    help=(
        "Measure this machine.\n\n"
        "Both backends, next to a bare event loop. Messages of 64 bytes go from one OS "
        "process to another: as many as there is room for, and one at a time, there and "
        "back."
    )
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="How long each measurement takes.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="How often each is made; medians are shown.",
)
@json_option
def bench(seconds: float, rounds: int, as_json: bool) -> None:
    play = Bench(seconds, rounds, lambda what: click.echo(what, err=True))
    for note in filter(None, (without_extensions(), stale())):
        click.echo(note, err=as_json)
    try:
        play.run()
    except ChildError as error:
        raise click.ClickException(f"the benchmark failed: {error}") from None
    if as_json:
        print_json(play.results())
        return
    for line in play.table():
        click.echo(line)
    click.echo(
        "\nOf floor: how many times as good as the bare loop, which moves the same bytes and "
        "parses\nnothing; above 1 is better.  Other programs on this machine disturb all of it."
    )


@click.command(
    hidden=True, help="Be one of the two OS processes of a measurement, until stdin is closed."
)
@click.argument("role", type=click.Choice([*ROLES]))
@click.argument("cpu", type=click.Choice(["first", "last"]))
@click.argument("seconds", type=float)
@click.argument("to")
def bench_part(role: str, cpu: str, seconds: float, to: str) -> None:
    run_role(role, cpu, seconds, to)
