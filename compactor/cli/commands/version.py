"""``compactor version``."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from compactor._version import __version__
from compactor.runtime.speedups import speedups


@click.command(help="Print what is installed and in use.")
def version() -> None:
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


def _installed(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
