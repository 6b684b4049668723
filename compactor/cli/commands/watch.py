"""``compactor watch``."""

from __future__ import annotations

import concurrent.futures

import click

from compactor.cli.access import Access, access_options
from compactor.cli.exits import Exit, Fault, exit_of
from compactor.cli.http_client import HttpClient
from compactor.cli.output import echo, json_option, print_json
from compactor.cli.own_context import own_context, own_context_options
from compactor.cli.targets import Target, process
from compactor.errors import Reason
from compactor.metrics.logs import readable
from compactor.pid import PID

_GRACE = 1.0  # seconds in which a compactor tells of the end of a process that is unknown by now


@click.command(
    help=(
        "Wait for the end of a process.\n\n"
        "Links to PID, and prints its exit with the reason; the exit code tells it, too. C++ tells "
        "of the end of whole programs only."
    )
)
@click.argument("pid", type=process)
@click.option(
    "--for",
    "seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds to wait; else for ever.",
)
@own_context_options
@access_options
@json_option
def watch(
    pid: PID,
    seconds: float | None,
    bind: str | None,
    advertise: str | None,
    access: Access,
    as_json: bool,
) -> None:
    target = Target(pid)
    with own_context(target, access, bind, advertise) as (context, lines):
        ended = context.wait(pid)
        is_unknown = _is_unknown(target, access)
        try:
            # Whoever ended a moment ago is unknown as well, and a compactor tells why it ended.
            reason, detail = ended.result(_GRACE if is_unknown else seconds), ended.detail
        except (TimeoutError, concurrent.futures.TimeoutError):
            if not is_unknown:
                raise Fault(Exit.TIMEOUT, f"{pid} has not ended within {seconds:g} s") from None
            reason, detail = Reason.NO_PROCESS, ""
    why = detail or "; ".join(lines)
    if as_json:
        print_json({"pid": str(pid), "reason": str(reason), "detail": why})
    else:
        echo(readable(f"{pid} has exited: {reason}") + (f" ({readable(why)})" if why else ""))
    raise click.exceptions.Exit(exit_of(reason))


def _is_unknown(target: Target, access: Access) -> bool:
    """Whether a context says that it has no such process, which links to C++ do not tell."""
    try:
        listed = HttpClient(access).json(target, "/__processes__")
        return target.pid.id not in [entry["id"] for entry in listed]
    except (Fault, LookupError, TypeError):
        return False
