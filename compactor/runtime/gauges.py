"""Gauges that are functions of programs: read in a turn of their process, while there is time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from compactor.actor.mailbox import Mailbox
from compactor.actor.measuring import metrics_of
from compactor.errors import ContextError
from compactor.metrics.readings import Reading

_LEAST_SECONDS = 0.001  # a turn of the loop, without which nothing could be read


async def read_gauges(mailboxes: list[Mailbox], seconds: float) -> list[Reading]:
    """Read the gauges of some processes; those that take longer, or raise, are left out.

    A process that is busy is asked once, however often somebody wants to know.

    Args:
        seconds: for all of them together.
    """
    asked: list[tuple[Mailbox, Any]] = []
    for mailbox in mailboxes:
        measured = metrics_of(mailbox.process)
        if measured is not None and measured.has_functions:
            if measured.reading is None or measured.reading.done():
                with contextlib.suppress(ContextError):  # it ends
                    measured.pulled = {}
                    context = mailbox.process.context
                    measured.reading = context.dispatch(mailbox.pid, measured.pull)
            asked.append((mailbox, measured))
    futures = [measured.reading for _, measured in asked if measured.reading is not None]
    if futures:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_all(futures), max(seconds, _LEAST_SECONDS))
    found = []
    for mailbox, measured in asked:
        for name, value in dict(measured.pulled).items():
            found.append(Reading(name, value, process=mailbox.pid.id, kind="gauge"))
        if measured.reading is not None and measured.reading.running():
            measured.reading.cancel()  # what hangs would hold its process for ever
    return found


async def _all(futures: list[Any]) -> None:
    for future in futures:
        done = asyncio.Event()
        future.add_done_callback(lambda _, done=done: done.set())
        await done.wait()
