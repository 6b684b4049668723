"""Draws docs/architecture.svg from the tables of docs/architecture.md.

Run it after changing the tables: ``python docs/draw_architecture.py``.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

PAGE = Path(__file__).with_name("architecture.md")
DRAWING = Path(__file__).with_name("architecture.svg")

WIDTH, MARGIN, GAP = 1180, 16, 8
LABEL_WIDTH = 40  # the number of a floor
HEAD, LINE = 40, 16  # heights: of a room's name and purpose, and of a row of its files
FILE_WIDTH = 120  # a column of files
LETTER = 5.6  # width of the small text
SHADES = ("#eef2f7", "#f7f9fc")
WAYS = {"in": "#2563eb", "out": "#c2410c"}


class Room(NamedTuple):
    """What stands on a floor: a folder or a file below ``compactor/``, and what it is for."""

    floor: int
    name: str
    purpose: str


def tables(text: str) -> tuple[dict[str, int], dict[str, str]]:
    """The floor of each room, and what each file owns."""
    return {room.name: room.floor for room in _rooms(text)}, _files(text)


def _rooms(text: str) -> list[Room]:
    found = re.findall(r"^\| (\d+) \| `([^`|]+)` \| ([^|]+?) \|$", text, re.MULTILINE)
    return [Room(int(floor), name, purpose) for floor, name, purpose in found]


def _files(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `([^`|]+\.py)` \| ([^|]+?) \|$", text, re.MULTILINE))


def ways(text: str) -> dict[str, set[str]]:
    """The files that stand in the paragraphs on the way in and the way out."""
    found = {}
    for way in WAYS:
        paragraph = re.search(rf"^\*\*{way.title()}\.\*\*(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
        found[way] = set(re.findall(r"`([\w/]+\.py)`", paragraph[1] if paragraph else ""))
    return found


def draw(text: str) -> str:
    """The drawing of a page as SVG: its rooms, and of their files those on the two ways."""
    rooms, files, passed = _rooms(text), _files(text), ways(text)
    shapes: list[str] = []
    y = MARGIN + 34
    for floor in sorted({room.floor for room in rooms}, reverse=True):
        here = [room for room in rooms if room.floor == floor]
        inside = [_passed(room, files, passed) for room in here]
        widths = _widths(list(map(_need, here, map(len, inside))))
        columns = [max(1, int((width - 12) // FILE_WIDTH)) for width in widths]
        rows = max(-(-len(names) // wide) for names, wide in zip(inside, columns, strict=True))
        height = HEAD + rows * LINE + (8 if rows else 0)
        shapes += _band(floor, y, height + 2 * GAP)
        left = MARGIN + LABEL_WIDTH
        for room, names, width, wide in zip(here, inside, widths, columns, strict=True):
            shapes += _box(room, names, left, y + GAP, width, height, wide, passed)
            left += width + GAP
        y += height + 2 * GAP + 4
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + MARGIN:g}" '
            "font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\">",
            "<title>The floors and rooms of compactor</title>",
            f'<rect width="{WIDTH}" height="{y + MARGIN:g}" fill="#ffffff"/>',
            *_legend(),
            *shapes,
            "</svg>",
            "",
        ]
    )


def _passed(room: Room, files: Iterable[str], passed: dict[str, set[str]]) -> list[str]:
    """The files of a folder that a message passes."""
    on_ways = set().union(*passed.values())
    is_folder = room.name.endswith("/")
    return [name for name in files if is_folder and name.startswith(room.name) and name in on_ways]


def _need(room: Room, files: int) -> float:
    """How wide a room has to be for its texts."""
    texts = max(len(room.purpose) * LETTER, len(room.name) * 9)
    return max(texts + 24, min(files, 3) * FILE_WIDTH + 12)


def _widths(needs: list[float]) -> list[float]:
    """How wide the rooms of a floor are, which they fill."""
    free = WIDTH - 2 * MARGIN - LABEL_WIDTH - GAP * len(needs)
    return [round(need + (free - sum(needs)) / len(needs), 1) for need in needs]


def _legend() -> list[str]:
    y = MARGIN + 16
    return [
        _text(MARGIN, y, "compactor: imports point downwards only", 15, "#0f172a", "bold"),
        *_dot("in", WIDTH - 396, y - 4),
        _text(WIDTH - 386, y, "bytes on their way in", 12, "#334155"),
        *_dot("out", WIDTH - 208, y - 4),
        _text(WIDTH - 198, y, "messages on their way out", 12, "#334155"),
    ]


def _band(floor: int, y: float, height: float) -> list[str]:
    return [
        f'<rect x="8" y="{y:g}" width="{WIDTH - 16}" height="{height:g}" rx="8" '
        f'fill="{SHADES[floor % 2]}"/>',
        _text(22 if floor < 10 else 14, y + 36, str(floor), 24, "#94a3b8", "bold"),
    ]


def _box(
    room: Room,
    files: list[str],
    left: float,
    top: float,
    width: float,
    height: float,
    columns: int,
    passed: dict[str, set[str]],
) -> list[str]:
    (purpose,) = textwrap.wrap(
        room.purpose.replace("`", ""), int((width - 20) / LETTER), max_lines=1, placeholder=" …"
    )
    shapes = [
        f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="6" '
        'fill="#ffffff" stroke="#cbd5e1"/>',
        _text(left + 10, top + 18, room.name, 13.5, "#0f172a", "bold"),
        _text(left + 10, top + 33, purpose, 11, "#475569"),
    ]
    if not files:
        shapes += _dots(room.name, left + width - 12, top + 14, passed)
    step = (width - 12) / columns
    for number, name in enumerate(files):
        row, column = divmod(number, columns)
        x, y = left + 18 + column * step, top + HEAD + 12 + row * LINE
        stem = name.removeprefix(room.name).removesuffix(".py")
        shapes.append(_text(x + 8, y, stem, 11.5, "#1e293b"))
        shapes += _dots(name, x, y - 4, passed)
    return shapes


def _dots(name: str, x: float, y: float, passed: dict[str, set[str]]) -> list[str]:
    shapes: list[str] = []
    for number, way in enumerate(way for way in WAYS if name in passed[way]):
        shapes += _dot(way, x - 8 * number, y)
    return shapes


def _dot(way: str, x: float, y: float) -> list[str]:
    return [f'<circle cx="{x:g}" cy="{y:g}" r="3.5" fill="{WAYS[way]}"/>']


def _text(x: float, y: float, text: str, size: float, colour: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )


if __name__ == "__main__":
    DRAWING.write_text(draw(PAGE.read_text("utf-8")), "utf-8")
