"""``Leaving``: what programs do first of all when their context is about to stop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from compactor.metrics.logs import logger

log = logger("context")

_SHARE = 3  # of this many parts of the time of a drain, one is for what programs do first


class Leaving:
    """The hooks of ``Context.on_drain``."""

    def __init__(self) -> None:
        self.hooks: list[Callable[[], Any]] = []

    async def run(self, seconds: float) -> None:
        """Call all of them at once, and wait until they are done.

        Args:
            seconds: of the drain; they have a share of that.
        """
        if not self.hooks:
            return
        within = seconds / _SHARE
        tasks = {asyncio.ensure_future(self._call(hook)): hook for hook in self.hooks}
        _, late = await asyncio.wait(tasks, timeout=within)
        for task in late:
            task.cancel()
            log.warning(
                "a hook of on_drain was cancelled, for it took more than %s s: %r",
                f"{within:.3g}",
                tasks[task],
            )

    async def _call(self, hook: Callable[[], Any]) -> None:
        try:
            result = hook()
            if inspect.isawaitable(result):
                await result
        except Exception:
            log.exception("a hook of on_drain has failed: %r", hook)
