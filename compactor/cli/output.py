"""What commands print: text and tables for people, JSON for scripts, bytes as they are."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from compactor.metrics.logs import readable

_UNPRINTED = re.compile("[^\n\x20-\x7e]")

_MOST_DRAWN = 64 * 1024  # characters of Markdown; longer ones would take seconds

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: Any) -> None:
    """Print a value as JSON: indented for people, on one line for others."""
    indent = 2 if is_terminal() else None
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    click.echo(_UNPRINTED.sub(_escaped_in_json, text).encode("utf-8", "replace"))


def _escaped_in_json(found: re.Match[str]) -> str:
    """What JSON lets stand though it could move the cursor, or reverse the direction of text."""
    text = found[0]
    is_surrogate = "\ud800" <= text <= "\udfff"  # which UTF-8 cannot write; a ? then
    return text if text.isprintable() or is_surrogate else json.dumps(text)[1:-1]


def is_terminal() -> bool:
    """Whether somebody reads along."""
    return sys.stdout is not None and sys.stdout.isatty()


def has_colours() -> bool:
    """Whether colours are wanted: on a terminal, unless ``NO_COLOR`` is set."""
    return is_terminal() and not os.environ.get("NO_COLOR")


def echo(text: str) -> None:
    """Print a line; what has no place in the encoding of the output is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    shown = text.encode(encoding, "backslashreplace").decode(encoding)
    click.echo(shown, color=has_colours())


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[int] = ()
) -> None:
    """Print rows below a head; nothing is cut, so that others can read it.

    Args:
        head: the names of the columns.
        rows: what stands below them; None is shown as a dash.
        right: the columns of numbers.
    """
    cells = [[readable("-" if cell is None else str(cell)) for cell in row] for row in rows]
    columns = list(zip(head, *cells, strict=True)) if cells else [(name,) for name in head]
    widths = [max(map(len, column)) for column in columns]
    for number, row in enumerate([list(head), *cells]):
        line = "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        echo(click.style(line, bold=True) if number == 0 else line)


def number(value: float | None, exact: bool = False) -> str:
    """A number as people read it.

    Args:
        value: None if it is not known.
        exact: whether no digit is left out.
    """
    if value is None:
        return "-"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value)}" if exact else f"{int(value):,}"
    return repr(value) if exact else f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2g}"


def print_markdown(text: str) -> None:
    """Print Markdown: drawn on a terminal, else as it is."""
    shown = "\n".join(readable_line(line) for line in text.splitlines())
    if is_terminal() and len(shown) <= _MOST_DRAWN:
        try:
            from rich.console import Console
            from rich.markdown import Markdown
        except ModuleNotFoundError:  # it can be read without
            pass
        else:
            Console(no_color=not has_colours()).print(Markdown(shown, hyperlinks=False))
            return
    echo(shown)


def readable_line(line: str) -> str:
    """A line with nothing in it that could move the cursor, of any length."""
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in line)


def print_bytes(data: bytes) -> None:
    """Print an answer: to others as it is, on a terminal nothing that could move the cursor."""
    if is_terminal():
        text = data.decode("utf-8", "backslashreplace")
        echo("\n".join(map(readable_line, text.removesuffix("\n").split("\n"))))
    else:
        click.echo(data, nl=False)
