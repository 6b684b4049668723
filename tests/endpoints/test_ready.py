"""``/ready``: 503 from the moment that a context is asked to stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from compactor import Context
from tests.actors import TIMEOUT, Events
from tests.endpoints.asking import fetch


def test_a_context_that_is_about_to_stop_is_not_ready(
    make_context: Callable[..., Context],
) -> None:
    context = make_context()
    called, gate = Events(), threading.Event()

    @context.on_drain
    async def leave() -> None:
        called.put("called")
        while not gate.is_set():
            await asyncio.sleep(0.001)

    answer = fetch(context, "/ready")
    assert (answer.status, answer.json) == (200, {"ready": True})
    context.stop(drain=TIMEOUT)
    called.take()
    answer = fetch(context, "/ready")
    assert (answer.status, answer.json) == (503, {"ready": False})
    gate.set()
    context.join(TIMEOUT)
