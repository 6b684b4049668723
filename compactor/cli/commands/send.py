"""``compactor send``."""

from __future__ import annotations

import click

from compactor.cli.access import Access, access_options
from compactor.cli.bodies import body_options
from compactor.cli.exits import Exit, Fault
from compactor.cli.http_client import HttpClient, check_status
from compactor.cli.output import echo, json_option, print_json
from compactor.cli.targets import Target, process
from compactor.errors import LocalProtocolError
from compactor.pid import NOBODY, PID
from compactor.wire.encoder import check_name, message_path


@click.command(
    help=(
        "Send a message.\n\n"
        "To the process PID, under NAME, with BODY or without one. That it was taken means that it "
        "is in the mailbox, not that it was handled."
    )
)
@click.argument("pid", type=process)
@click.argument("name")
@body_options
@click.option("--from", "sender", type=process, help="Who it is from; else nobody.")
@access_options
@json_option
def send(
    pid: PID, name: str, body: bytes, sender: PID | None, access: Access, as_json: bool
) -> None:
    path = path_of(pid, name)
    target = Target(pid)
    headers = {"Libprocess-From": str(sender or NOBODY), "Content-Type": "application/octet-stream"}
    reply = HttpClient(access).ask(target, path, "POST", headers, body)
    if reply.status == 404:
        which = f"compactor ps {pid.host} lists those that do"
        raise Fault(Exit.NOT_FOUND, f"no process {pid.id!r} lives at {pid.host}; {which}")
    check_status(target, path, reply)
    if as_json:
        taken = {"to": str(pid), "name": name, "bytes": len(body), "status": reply.status}
        print_json(taken)
    else:
        echo(f"{pid} has taken {name!r}, {len(body)} bytes")


def path_of(pid: PID, name: str) -> str:
    """Where a message goes.

    Raises:
        Fault: no message can have that name.
    """
    try:
        path = message_path(pid.id, check_name(name))
        return path.encode().decode("latin-1")  # as http.client writes it
    except (LocalProtocolError, UnicodeError) as error:
        raise Fault(Exit.USAGE, str(error)) from None
