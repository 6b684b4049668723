"""``compactor serve``."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import sys

import click

from compactor.cli.exits import Exit, Fault
from compactor.context import Context
from compactor.errors import SettingsError, SocketError
from compactor.runtime.program import run_program
from compactor.systemd import notifying
from compactor.workers import Workers, WorkersFailed

_GRACE = 15.0  # seconds beside the drain of the workers, which the parent waits for


@click.command(
    help=(
        "Run a program on every core.\n\n"
        "MAKE is 'module:function', 'async def function(context, worker)': it spawns the processes "
        "of one worker, an OS process with a context and a port of its own. Workers that end are "
        "started anew. SIGHUP replaces all of them, one after the other; SIGTERM ends the program "
        "when what was asked is answered."
    )
)
@click.argument("make")
@click.option(
    "--workers",
    "count",
    type=click.IntRange(1, 1024),
    help="How many; default one for each core.",
)
@click.option("--ports", help="Where workers listen, as 5051-5054; default any that are free.")
@click.option("--ip", help="Address to bind; default LIBPROCESS_IP, else all.")
@click.option("--port", type=click.IntRange(0, 65535), help="Of the parent, which shows them all.")
@click.option(
    "--cluster", metavar="URL", help="Register all processes there by their ids, as zk://host/path."
)
@click.option(
    "--drain",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Seconds in which a worker that is to end does what it has accepted.",
)
def serve(
    make: str,
    count: int | None,
    ports: str | None,
    ip: str | None,
    port: int | None,
    cluster: str | None,
    drain: float,
) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as ``python -m`` does
    with contextlib.ExitStack() as probe:
        try:  # before anything is started
            context = Context(ip="127.0.0.1", port=0)
            probe.callback(context.stop)
            workers = functools.partial(
                Workers, make, count=count, ports=ports, drain=drain, cluster=cluster
            )
            workers(context=context)
        except (TypeError, ValueError, SettingsError) as error:
            raise Fault(Exit.USAGE, str(error)) from None
    try:
        parent = functools.partial(Context, ip=ip, port=port)
        run_program(parent, functools.partial(_main, workers), drain + _GRACE)
    except (WorkersFailed, SocketError) as error:
        raise Fault(Exit.ERROR, str(error)) from None


async def _main(make: functools.partial[Workers], context: Context) -> None:
    async with make(context=context) as workers:
        for each in workers.status():
            click.echo(
                f"worker {each['number']} listens at {each['address']}, OS process {each['os_pid']}"
            )
        async with notifying(context, f"{len(workers.status())} workers"):
            await asyncio.Event().wait()
