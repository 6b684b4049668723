"""Draws docs/architecture.svg from the tables of docs/architecture.md.

Run it after changing the tables: ``python docs/draw_architecture.py``.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

PAGE = Path(__file__).with_name("architecture.md")
DRAWING = Path(__file__).with_name("architecture.svg")

WIDTH = 1180
LABEL_WIDTH = 178
BOX_WIDTH, BOX_HEIGHT, GAP, MARGIN = 188, 74, 10, 16
BOXES_PER_ROW = 5
TEXT_COLUMNS = 28  # characters of the small text that fit into a box
SHADES = ("#eef2f7", "#f7f9fc")
WAYS = {"in": "#2563eb", "out": "#c2410c"}


class Room(NamedTuple):
    """One module: its floor, its path below ``compactor/`` and what it owns."""

    floor: int
    module: str
    owns: str


def tables(text: str) -> tuple[dict[int, str], list[Room]]:
    """The names of the floors, and the rooms, from the page's two tables."""
    floors = {
        int(number): name
        for number, name in re.findall(r"^\| (\d+) \| ([^|`]+?) \|$", text, re.MULTILINE)
    }
    rooms = [
        Room(int(number), module, owns)
        for number, module, owns in re.findall(
            r"^\| (\d+) \| `([^`|]+)` \| ([^|]+?) \|$", text, re.MULTILINE
        )
    ]
    return floors, rooms


def ways(text: str) -> dict[str, set[str]]:
    """The modules that stand in the paragraphs on the way in and the way out."""
    found = {}
    for way in WAYS:
        paragraph = re.search(rf"^\*\*{way.title()}\.\*\*(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
        found[way] = set(re.findall(r"`(\w+\.py)`", paragraph[1] if paragraph else ""))
    return found


def draw(text: str) -> str:
    """The drawing of a page as SVG."""
    floors, rooms = tables(text)
    passed = ways(text)
    shapes: list[str] = []
    y = MARGIN + 34
    for floor in sorted(floors, reverse=True):
        here = [room for room in rooms if room.floor == floor]
        rows = -(-len(here) // BOXES_PER_ROW)
        height = rows * (BOX_HEIGHT + GAP) + GAP
        shapes += _band(floor, floors[floor], y, height)
        for number, room in enumerate(here):
            row, column = divmod(number, BOXES_PER_ROW)
            left = LABEL_WIDTH + column * (BOX_WIDTH + GAP)
            top = y + GAP + row * (BOX_HEIGHT + GAP)
            shapes += _box(room, left, top, [way for way in WAYS if room.module in passed[way]])
        y += height + 4
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + MARGIN}" '
            "font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\">",
            "<title>The floors and rooms of compactor</title>",
            f'<rect width="{WIDTH}" height="{y + MARGIN}" fill="#ffffff"/>',
            *_legend(),
            *shapes,
            "</svg>",
            "",
        ]
    )


def _legend() -> list[str]:
    y = MARGIN + 16
    return [
        _text(MARGIN, y, "compactor: imports point downwards only", 15, "#0f172a", "bold"),
        *_tag("in", WIDTH - 416, y - 11),
        _text(WIDTH - 382, y, "bytes on their way in", 12, "#334155"),
        *_tag("out", WIDTH - 228, y - 11),
        _text(WIDTH - 188, y, "messages on their way out", 12, "#334155"),
    ]


def _band(floor: int, name: str, y: int, height: int) -> list[str]:
    shapes = [
        f'<rect x="8" y="{y}" width="{WIDTH - 16}" height="{height}" rx="8" '
        f'fill="{SHADES[floor % 2]}"/>',
        _text(22, y + 38, str(floor), 26, "#94a3b8", "bold"),
    ]
    for number, line in enumerate(textwrap.wrap(name, 17)):
        shapes.append(_text(48, y + 26 + 16 * number, line, 12.5, "#334155"))
    return shapes


def _box(room: Room, left: int, top: int, passed: list[str]) -> list[str]:
    shapes = [
        f'<rect x="{left}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" '
        'fill="#ffffff" stroke="#cbd5e1"/>',
        _text(left + 10, top + 20, room.module, 13, "#0f172a", "bold"),
    ]
    lines = textwrap.wrap(room.owns.replace("`", ""), TEXT_COLUMNS, max_lines=3, placeholder=" …")
    for number, line in enumerate(lines):
        shapes.append(_text(left + 10, top + 36 + 14 * number, line, 11, "#475569"))
    right = left + BOX_WIDTH - 8
    for way in reversed(passed):
        right -= _tag_width(way)
        shapes += _tag(way, right, top + 8)
        right -= 4
    return shapes


def _tag_width(way: str) -> int:
    return 12 + 7 * len(way)


def _tag(way: str, left: int, top: int) -> list[str]:
    return [
        f'<rect x="{left}" y="{top}" width="{_tag_width(way)}" height="15" rx="7.5" '
        f'fill="{WAYS[way]}"/>',
        _text(left + 6, top + 11.5, way, 10.5, "#ffffff", "bold"),
    ]


def _text(x: float, y: float, text: str, size: float, colour: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )


if __name__ == "__main__":
    DRAWING.write_text(draw(PAGE.read_text("utf-8")), "utf-8")
