"""The public answer to "am I accelerated?": what this program runs on."""

from __future__ import annotations

from dataclasses import dataclass

from compactor.net.event_loop import loop_package
from compactor.runtime import hot_path
from compactor.wire.fields import PARSER


@dataclass(frozen=True)
class Speedups:
    """What is in use where there is a fast kind and a plain one.

    Attributes:
        loop: whose event loops contexts make, ``uvloop`` or ``asyncio``.
        parser: what reads header fields, ``httptools`` or ``python``.
        backend: what everything else that each message passes is made of, ``cython`` or ``python``.
    """

    loop: str
    parser: str
    backend: str

    def __str__(self) -> str:
        return f"loop: {self.loop}, parser: {self.parser}, backend: {self.backend}"


def speedups() -> Speedups:
    """What is in use in this program, for new contexts that are given no loop.

    Returns:
        One word for each; printed, one line.
    """
    return Speedups(loop_package(), PARSER, hot_path.chosen.kind)
