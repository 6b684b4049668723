"""The public answer to "am I accelerated?": which kind of each part this program runs on."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from compactor import wire
from compactor.fields import PARSER
from compactor.loop import loop_package


@dataclass(frozen=True)
class Speedups:
    """What is in use for each part that has a fast kind and a plain one.

    Attributes:
        loop: whose event loops contexts make, ``uvloop`` or ``asyncio``.
        parser: what reads header fields, ``httptools`` or ``python``.
        frames: what encodes messages, ``cython`` or ``python``, as for all that follow.
        routes: what finds the handler of a path.
        heads: what reads request lines.
        bodies: what large bodies are read into.
        decoder: what cuts bytes into messages.
        run_queue: what decides whose turn it is.
        mailbox: what a process takes its events from.
        outflow: what frames wait in on their way out.
        outbox: what a sent message passes first.
        inbound: what hands received messages to mailboxes.
    """

    loop: str
    parser: str
    frames: str
    routes: str
    heads: str
    bodies: str
    decoder: str
    run_queue: str
    mailbox: str
    outflow: str
    outbox: str
    inbound: str

    def __str__(self) -> str:
        parts: dict[str, list[str]] = {}
        for part, kind in asdict(self).items():
            parts.setdefault(kind, []).append(part)
        return "; ".join(f"{kind}: {', '.join(of_it)}" for kind, of_it in parts.items())


def speedups() -> Speedups:
    """What is in use in this program, for new contexts that are given no loop.

    Returns:
        One word for each part; printed, the parts of each kind.
    """
    compiled = dict.fromkeys(wire.MODULES.values(), wire.chosen.kind)
    return Speedups(loop=loop_package(), parser=PARSER, **compiled)
