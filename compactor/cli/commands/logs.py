"""``compactor logs``."""

from __future__ import annotations

import re

import click

from compactor.cli.access import Access, access_options
from compactor.cli.exits import Exit, Fault
from compactor.cli.http_client import HttpClient, check_status
from compactor.cli.output import echo, json_option, print_json
from compactor.cli.targets import Target, context
from compactor.metrics.logs import readable

_PATH = "/logging/toggle"
_NUMBERS = {"info": "1", "debug": "2", "all": "3"}  # as C++ understands them, too
_NAMES = ("warning", "error", "critical")
_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "secs"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "mins"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "hrs"),
    **dict.fromkeys(("d", "day", "days"), "days"),
    "ms": "ms",
}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([a-z]+)", re.ASCII)


def _level(value: str) -> str:
    """The type of a level: what is sent for it."""
    text = value.lower()
    if text in _NUMBERS:
        return _NUMBERS[text]
    if text in _NAMES or text in ("0", "1", "2", "3"):
        return text
    known = ", ".join((*_NUMBERS, *_NAMES))
    raise click.BadParameter(f"{value!r} is none of {known}, and no number from 0 to 3")


def _duration(value: str) -> str:
    """The type of a duration: as libprocess writes it."""
    found = _DURATION.fullmatch(value.lower())
    unit = _UNITS.get(found[2]) if found else None
    if found is None or unit is None:
        raise click.BadParameter(f"{value!r} is no time such as 30s, 5m or 1h")
    return f"{found[1]}{unit}"


@click.command(
    help=(
        "Show the level of logging, or have more logged for a while.\n\n"
        "Afterwards CONTEXT logs as before. The levels of C++ libprocess are info (1), debug (2) "
        "and all (3)."
    )
)
@click.argument("context", type=context)
@click.option("--level", type=_level, help="info, debug, all, warning, error, critical, or 0 to 3.")
@click.option("--for", "duration", type=_duration, default="30s", help="Until when. Default: 30s.")
@access_options
@json_option
def logs(context: Target, level: str | None, duration: str, access: Access, as_json: bool) -> None:
    client = HttpClient(access)
    if level is not None:
        reply = client.ask(context, f"{_PATH}?level={level}&duration={duration}", "POST")
        if reply.status == 400:
            said = " ".join(reply.text.split())
            raise Fault(Exit.USAGE, f"{context.host} does not take that level: {said}")
        check_status(context, _PATH, reply)
    reply = client.ask(context, _PATH)
    check_status(context, _PATH, reply)
    now = reply.text.strip()
    name = {number: name for name, number in _NUMBERS.items()}.get(now, "as configured")
    if as_json:
        print_json({"context": context.host, "level": now, "name": name})
        return
    until = "" if level is None else f" for {duration}"
    echo(f"{context.host} logs at level {readable(now)} ({name}){until}")
