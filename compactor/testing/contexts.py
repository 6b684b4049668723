"""Contexts for the length of a test."""

from __future__ import annotations

import contextlib
import unittest
from collections.abc import Iterator
from typing import Any

from compactor.context import Context

_JOIN_SECONDS = 5.0


@contextlib.contextmanager
def ephemeral_context(**kw: Any) -> Iterator[Context]:
    """A started context for the length of a ``with`` block; stopped whatever happens in it.

    Args:
        kw: what ``Context`` takes.
    """
    context = Context(**kw)
    try:
        context.start()
        yield context
    finally:
        context.stop()
        context.join(_JOIN_SECONDS)


class EphemeralContextTestCase(unittest.TestCase):
    """A test case whose tests each have a started context, ``self.context``."""

    context: Context

    def setUp(self) -> None:
        self.context = Context()
        self.addCleanup(self.context.join, _JOIN_SECONDS)
        self.addCleanup(self.context.stop)
        self.context.start()
