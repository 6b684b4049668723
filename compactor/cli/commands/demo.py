"""``compactor demo``, and the hidden commands that it starts."""

from __future__ import annotations

import sys

import click

from compactor.cli.child import ChildError
from compactor.cli.demo.play import Demo
from compactor.cli.demo.roles import run_follower, run_leader


@click.command(
    help=(
        "Watch a leader lose a follower.\n\n"
        "Runs a leader and two followers, each an OS process of its own, and kills one."
    )
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="Seconds to wait for each step.",
)
def demo(timeout: float) -> None:
    click.echo("compactor demo: a leader and two followers, each an OS process of its own\n")
    with Demo(timeout, _print_step) as play:
        try:
            summary = play.run()
        except ChildError as error:
            raise click.ClickException(f"the demo failed: {error}") from None
    click.echo(f"\n{click.style('Done.', fg='green', bold=True)} {summary}")


def _print_step(number: int, who: str, what: str) -> None:
    click.echo(f"{number:3}. {click.style(f'{who:<11}', bold=True)} {what}")


@click.command(hidden=True, help="Be the leader of a demo until stdin is closed.")
def demo_leader() -> None:
    sys.exit(run_leader())


@click.command(
    hidden=True, help="Be a follower of LEADER until it exits, or until stdin is closed."
)
@click.argument("name")
@click.argument("leader")
def demo_follower(name: str, leader: str) -> None:
    sys.exit(run_follower(name, leader))
