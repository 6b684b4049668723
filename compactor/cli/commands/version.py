"""``compactor version``."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from compactor._version import __version__
from compactor.cli.output import json_option, print_json
from compactor.runtime.speedups import speedups


@click.command(help="Print what is installed and in use.")
@json_option
def version(as_json: bool) -> None:
    in_use = speedups()
    told = {
        "compactor": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "loop": f"uvloop {_installed('uvloop')}" if in_use.loop == "uvloop" else in_use.loop,
        "httptools": _installed("httptools"),
        "protobuf": _installed("protobuf"),
        "speedups": str(in_use),
    }
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        click.echo(f"{name:<10} {value}")


def _installed(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
