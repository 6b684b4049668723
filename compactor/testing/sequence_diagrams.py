"""Sequence diagrams, in text and for Mermaid: a column for each of those who take part."""

from __future__ import annotations

from typing import NamedTuple

_TIME = 12  # characters
_GAP = 4  # between names
_ENDS = 6  # of an arrow, beside its label: "|-- label ->|"

_TIP = {"arrow": ">", "lost": "x", "open": "?"}
_MERMAID = {"arrow": "->>", "lost": "-x", "open": "-)"}
_CODES = {ord(character): f"#{ord(character)};" for character in "#;%<>"}  # as Mermaid writes them


class Step(NamedTuple):
    """One line of a diagram.

    Attributes:
        seconds: when.
        sender, to: the columns it goes from and to; one column if they are the same.
        label: what is written on it.
        style: ``arrow``; ``lost`` for one that does not arrive; ``open`` for one that is still on
            its way; ``note`` for what concerns all.
    """

    seconds: float
    sender: str
    to: str
    label: str
    style: str


def _columns(steps: list[Step]) -> dict[str, int]:
    """Those who take part, in the order in which they appear, and their places."""
    names: dict[str, int] = {}
    for step in steps:
        if step.style != "note":
            names.setdefault(step.sender, len(names))
            names.setdefault(step.to, len(names))
    return names


def text(steps: list[Step]) -> str:
    """A diagram in characters; each name stands above its line."""
    columns = _columns(steps)
    places = _places(steps, columns)
    head = ""
    for name, place in zip(columns, places, strict=True):
        head = head.ljust(place) + name
    lines = [" " * (_TIME + 2) + head] if head else []
    lines += [f"{step.seconds:{_TIME}.6f}  {_drawn(step, columns, places)}" for step in steps]
    return "".join(line.rstrip() + "\n" for line in lines)


def _places(steps: list[Step], columns: dict[str, int]) -> list[int]:
    """Where each column stands, so that every label has room between its ends."""
    names = list(columns)
    needed: list[dict[int, int]] = [{} for _ in names]  # by column on the right: from the left one
    for step in steps:
        if step.style == "note":
            continue
        left, right = sorted((columns[step.sender], columns[step.to]))
        width = len(step.label) + _ENDS
        if left == right:
            right += 1  # the label stands beside the line
        if right < len(names):
            needed[right][left] = max(needed[right].get(left, 0), width)
    places = [0] * len(names)
    for at in range(1, len(names)):
        places[at] = places[at - 1] + len(names[at - 1]) + _GAP
        for left, width in needed[at].items():
            places[at] = max(places[at], places[left] + width)
    return places


def _drawn(step: Step, columns: dict[str, int], places: list[int]) -> str:
    if step.style == "note":
        return f"== {step.label} =="
    line = [" "] * (places[-1] + 1)
    for place in places:
        line[place] = "|"
    start, end = places[columns[step.sender]], places[columns[step.to]]
    if start == end:
        mark = {"arrow": "*", "lost": "x", "open": "?"}[step.style]
        words = f"{mark} {step.label}"
        line[start + 1 : start + 1 + len(words)] = words
        return "".join(line)
    left, right = sorted((start, end))
    middle = f" {step.label} ".center(right - left - 3, "-")
    tip = "<" if step.style == "arrow" and end < start else _TIP[step.style]
    line[left + 1 : right] = f"-{middle}{tip}" if end > start else f"{tip}{middle}-"
    return "".join(line)


def mermaid(steps: list[Step]) -> str:
    """A diagram in the language of Mermaid."""
    columns = _columns(steps)
    lines = ["sequenceDiagram"]
    lines += [f"    participant p{at} as {_escaped(name)}" for name, at in columns.items()]
    for step in steps:
        label = f"{step.seconds:.6f} {_escaped(step.label)}"
        if step.style != "note":
            start, end = columns[step.sender], columns[step.to]
            lines.append(f"    p{start}{_MERMAID[step.style]}p{end}: {label}")
        elif columns:
            over = "p0" if len(columns) == 1 else f"p0,p{len(columns) - 1}"
            lines.append(f"    Note over {over}: {label}")
        else:
            lines.append(f"    %% {label}")
    return "\n".join(lines) + "\n"


def _escaped(label: str) -> str:
    """A text without what means something to Mermaid."""
    return label.translate(_CODES)
