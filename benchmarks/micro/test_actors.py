"""Mailboxes and lifetimes; with `COMPACTOR_NO_SPEEDUPS=1` they run in pure Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.paths import Work


def test_mailbox(benchmark: Any, work_of_context: Callable[[str], Work]) -> None:
    benchmark(work_of_context("mailbox"))


def test_spawn(benchmark: Any, work_of_context: Callable[[str], Work]) -> None:
    benchmark(work_of_context("spawn"))
