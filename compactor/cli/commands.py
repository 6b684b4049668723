"""The commands, and what they print."""

from __future__ import annotations

import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path

import click

from compactor._version import __version__
from compactor.acceleration import speedups
from compactor.address import own_addresses
from compactor.certificates import MissingPackage, issue, own_names
from compactor.cli.bench import Bench
from compactor.cli.bench_parts import ROLES, run_role
from compactor.cli.demo import Demo
from compactor.cli.part import PartError
from compactor.cli.parts import run_follower, run_leader
from compactor.errors import SettingsError
from compactor.settings import Setting, Settings
from compactor.tls_settings import PREFIX, TlsSettings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def compactor() -> None:
    """Actors that speak libprocess, the wire of Apache Mesos."""


@compactor.command()
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="Seconds to wait for each step.",
)
def demo(timeout: float) -> None:
    """Watch a leader lose a follower.

    Runs a leader and two followers, each an OS process of its own, and kills one.
    """
    click.echo("compactor demo: a leader and two followers, each an OS process of its own\n")
    with Demo(timeout, _print_step) as play:
        try:
            summary = play.run()
        except PartError as error:
            raise click.ClickException(f"the demo failed: {error}") from None
    click.echo(f"\n{click.style('Done.', fg='green', bold=True)} {summary}")


def _print_step(number: int, who: str, what: str) -> None:
    click.echo(f"{number:3}. {click.style(f'{who:<11}', bold=True)} {what}")


@compactor.command()
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
def bench(seconds: float, rounds: int) -> None:
    """Measure this machine.

    Both backends, next to a bare event loop.  Messages of 64 bytes go from one OS process to
    another: as many as there is room for, and one at a time, there and back.
    """
    play = Bench(seconds, rounds, lambda what: click.echo(what, err=True))
    try:
        play.run()
    except PartError as error:
        raise click.ClickException(f"the benchmark failed: {error}") from None
    if play.missing:
        click.echo(f"There are no compiled extensions here, so pure Python is all: {play.missing}")
    for line in play.table():
        click.echo(line)
    click.echo(
        "\nOf floor: how many times as good as the bare loop, which moves the same bytes and "
        "parses\nnothing; above 1 is better.  Other programs on this machine disturb all of it."
    )


@compactor.command()
def version() -> None:
    """Print what is installed and in use."""
    in_use = speedups()
    for name, value in (
        ("compactor", __version__),
        ("python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("loop", f"uvloop {_installed('uvloop')}" if in_use.loop == "uvloop" else in_use.loop),
        ("httptools", _installed("httptools")),
        ("protobuf", _installed("protobuf")),
        ("speedups", str(in_use)),
    ):
        click.echo(f"{name:<10} {value}")


@compactor.command()
def settings() -> None:
    """List settings and bounds, and why they are so.

    Values are those that the environment gives here.
    """
    try:
        plain, tls = Settings.from_environ(), TlsSettings.from_environ()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    _list_settings(plain.describe())
    if tls is None:
        click.echo(f"\nTLS is off: {PREFIX}ENABLED=true turns it on, and these would be used.\n")
        tls = TlsSettings(key_file="...", cert_file="...")
    else:
        click.echo(f"\nTLS is on; the variables begin with {PREFIX}.\n")
    _list_settings(tls.describe())


def _list_settings(listed: list[Setting]) -> None:
    width = max(len(setting.name) for setting in listed)
    for name, value, default, reason in listed:
        is_usual = default is None or value == default
        text = f"{value!r}" if is_usual else f"{value!r} (by default {default!r})"
        click.echo(f"{click.style(f'{name:<{width}}', bold=True)}  {text:<11}  {reason}")


@compactor.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", default="host", show_default=True, help="What the files are called.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    help="A name or IP address, any number of times; by default those of this host.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 36500),
    default=365,
    show_default=True,
    help="How long it is valid, and a new CA.",
)
def certs(folder: Path, name: str, hosts: tuple[str, ...], days: int) -> None:
    """Make certificates to develop with.

    One in FOLDER, and a CA if there is none.  Prints the variables that turn TLS on, for your
    shell to evaluate.
    """
    hosts = hosts or tuple(dict.fromkeys([*own_names(), *own_addresses()]))
    try:
        issued = issue(folder.absolute(), hosts, name, days)
    except (MissingPackage, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    authority = "a new CA" if issued.is_new_authority else "the CA that is there"
    click.echo(f"{issued.certificate} is for {', '.join(hosts)}, signed by {authority}", err=True)
    for variable, value in {
        "ENABLED": "true",
        "KEY_FILE": issued.key,
        "CERT_FILE": issued.certificate,
        "CA_FILE": issued.authority,
        "REQUIRE_CERT": "true",
        "VERIFY_IPADD": "true",
    }.items():
        click.echo(f"export {PREFIX}{variable}={shlex.quote(str(value))}")


def _installed(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


@compactor.command(hidden=True)
@click.argument("role", type=click.Choice([*ROLES]))
@click.argument("cpu", type=click.Choice(["first", "last"]))
@click.argument("seconds", type=float)
@click.argument("to")
def bench_part(role: str, cpu: str, seconds: float, to: str) -> None:
    """Be one of the two OS processes of a measurement, until stdin is closed."""
    run_role(role, cpu, seconds, to)


@compactor.command(hidden=True)
def demo_leader() -> None:
    """Be the leader of a demo until stdin is closed."""
    sys.exit(run_leader())


@compactor.command(hidden=True)
@click.argument("name")
@click.argument("leader")
def demo_follower(name: str, leader: str) -> None:
    """Be a follower of LEADER until it exits, or until stdin is closed."""
    sys.exit(run_follower(name, leader))
