"""The ``compactor`` command: the group of all others."""

from __future__ import annotations

import click

from compactor._version import __version__
from compactor.cli.commands.bench import bench, bench_part
from compactor.cli.commands.certs import certs
from compactor.cli.commands.demo import demo, demo_follower, demo_leader
from compactor.cli.commands.settings import settings
from compactor.cli.commands.version import version


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Actors that speak libprocess, the wire of Apache Mesos.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def compactor() -> None:
    pass


for command in (bench, certs, demo, settings, version, bench_part, demo_follower, demo_leader):
    compactor.add_command(command)
