"""``ContextHooks``: what programs have called when something happens in a context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from compactor.metrics.dead_letters import DeadLetter
from compactor.pid import Address
from compactor.runtime.arguments import check_hook
from compactor.runtime.loop_owner import LoopOwner

Hook = TypeVar("Hook", bound=Callable[[DeadLetter], Any])
DrainHook = TypeVar("DrainHook", bound=Callable[[], Any])
PressureHook = TypeVar("PressureHook", bound=Callable[[Address, bool], Any])


class ContextHooks(LoopOwner):
    """The part of ``Context`` that takes hooks."""

    def on_dead_letter(self, hook: Hook) -> Hook:
        """Have ``hook(dead_letter)`` called, on the loop's thread, for every dead letter.

        Returns:
            The hook, so that this can decorate it.

        Raises:
            TypeError: it is no function, or an ``async`` one.
        """
        self._runtime.metrics.hooks.append(check_hook(hook, "dead_letter"))
        return hook

    def on_backed_up(self, hook: PressureHook) -> PressureHook:
        """Have ``hook((ip, port), is_backed_up)`` called, on the loop's thread, whenever more than
        ``parked_high_water_bytes`` wait for an address, and when most of it has left.

        Returns:
            The hook, so that this can decorate it.

        Raises:
            TypeError: it is no function, or an ``async`` one.
        """
        self._runtime.metrics.backed_up_hooks.append(check_hook(hook, "address, is_backed_up"))
        return hook

    def on_drain(self, hook: DrainHook) -> DrainHook:
        """Have ``hook()`` called, on the loop's thread, when a stop with a drain begins.

        Others still ask then, and are answered: here a program leaves where they have found it.
        All hooks are called at once, may be ``async``, and have a third of the drain's time.

        Returns:
            The hook, so that this can decorate it.

        Raises:
            TypeError: it is no function.
        """
        if not callable(hook):
            raise TypeError(f"a hook is a function, called as hook(), got {hook!r}")
        self._runtime.leaving.hooks.append(hook)
        return hook
