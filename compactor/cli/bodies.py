"""The body of a message: of an argument, of a file, or of standard input; raw, or JSON."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click

from compactor.cli.exits import Exit, Fault
from compactor.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

MOST_BYTES = Settings.max_body_bytes  # more is taken by no context, unless it is told to


def body_options(command: Command) -> Command:
    """Give a command the ways to say what a message carries; it takes ``body``, as bytes."""

    @functools.wraps(command)
    def call(*args: Any, body: str | None, file: str | None, is_json: bool, **kw: Any) -> Any:
        return command(*args, body=read_body(body, file, is_json), **kw)

    for option in (
        click.argument("body", required=False),
        click.option("--file", metavar="FILE", help="Where the body is; - for standard input."),
        click.option(
            "--as-json",
            "is_json",
            is_flag=True,
            help="Send the body only if it is JSON.",
        ),
    ):
        call = option(call)
    return call  # type: ignore[return-value]


def read_body(text: str | None, file: str | None, is_json: bool) -> bytes:
    """What a message carries.

    Args:
        text: the argument; ``-`` for standard input.
        file: the path of a file; ``-`` for standard input.
        is_json: whether it must be JSON.

    Raises:
        Fault: it cannot be read, is too large, or is no JSON.
    """
    if text is not None and file is not None:
        raise click.UsageError("give BODY or --file, not both")
    where = "BODY"
    if file == "-" or text == "-":
        where = "standard input"
        if sys.stdin is None:
            raise Fault(Exit.USAGE, "there is no standard input")
        body = _read(sys.stdin.buffer, where)
    elif file is not None:
        where = repr(file)
        try:
            with Path(file).open("rb") as opened:
                body = _read(opened, where)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise Fault(Exit.USAGE, f"{file!r} cannot be read: {why}") from None
    else:
        body = (text or "").encode("utf-8", "surrogateescape")  # the bytes that were typed
    if is_json:
        try:
            json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Fault(Exit.USAGE, f"{where} is no JSON: {error}") from None
    return body


def _read(file: BinaryIO, where: str) -> bytes:
    body = file.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise Fault(
            Exit.USAGE,
            f"{where} has more than {MOST_BYTES >> 20} MiB, which no context takes in one message",
        )
    return body
