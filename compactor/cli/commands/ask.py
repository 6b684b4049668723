"""``compactor ask``."""

from __future__ import annotations

import base64
import json
from typing import Any

import click

from compactor.cli.access import Access, access_options
from compactor.cli.bodies import body_options
from compactor.cli.commands.send import path_of
from compactor.cli.exits import Exit, Fault, exit_of
from compactor.cli.http_client import HttpClient, check_status
from compactor.cli.output import json_option, print_bytes, print_json
from compactor.cli.own_context import own_context, own_context_options, with_lines
from compactor.cli.targets import Target, process
from compactor.errors import AskFailed, AskTimeout, Reason, RemoteError
from compactor.pid import PID


@click.command(
    help=(
        "Send a message, and print its answer.\n\n"
        "The answer comes to an address of this command, so PID must be able to reach it; with "
        "--http it comes back on the same connection, from an answer method of a compactor."
    )
)
@click.argument("pid", type=process)
@click.argument("name")
@body_options
@click.option("--http", is_flag=True, help="Ask by a request of HTTP.")
@own_context_options
@access_options
@json_option
def ask(
    pid: PID,
    name: str,
    body: bytes,
    http: bool,
    bind: str | None,
    advertise: str | None,
    access: Access,
    as_json: bool,
) -> None:
    path = path_of(pid, name)
    target = Target(pid)
    if http:
        reply = HttpClient(access).ask(target, path, "POST", {}, body)
        check_status(target, path, reply)
        answer = reply.body
    else:
        answer = _ask(target, name, body, bind, advertise, access)
    if as_json:
        print_json({"from": str(pid), "name": name, **_as_json(answer)})
    else:
        print_bytes(answer)


def _ask(
    target: Target, name: str, body: bytes, bind: str | None, advertise: str | None, access: Access
) -> bytes:
    with own_context(target, access, bind, advertise) as (context, lines):
        here = f"{context.ip}:{context.port}"
        try:
            return context.ask(target.pid, name, body, timeout=access.timeout).result()
        except RemoteError as error:
            raise Fault(Exit.REFUSED, f"the handler of {name!r} has raised {error}") from None
        except AskTimeout:
            raise Fault(
                Exit.TIMEOUT,
                f"{target.pid} has not answered {name!r} within {access.timeout:g} s: it is busy, "
                f"answers no such message, or cannot reach this command at {here} (see --bind, "
                f"--advertise, and compactor doctor {target.pid})",
            ) from None
        except AskFailed as error:
            code = exit_of(error.reason)
            is_ended = error.reason in (Reason.TERMINATED, Reason.FAILED)
            text = str(error)
            if code is Exit.LOST and not access.speaks_tls(target):
                text += ", as by one that speaks TLS (see --tls)"
            text = with_lines(text, lines)
            raise Fault(Exit.REFUSED if is_ended else code, text) from None


def _as_json(answer: bytes) -> dict[str, Any]:
    """An answer in JSON: as what it says, as text, or in base64."""
    try:
        text = answer.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(answer).decode()}
    try:
        return {"json": json.loads(text)}
    except (ValueError, RecursionError):
        return {"text": text}
