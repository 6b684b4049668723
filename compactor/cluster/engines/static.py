"""``static://``: names that stand in the URL, or in a file that is read again when it changes."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Callable
from typing import Any

from compactor.cluster.engine import NAMES, Engine, Record, Told
from compactor.cluster.errors import ClusterUnreachable
from compactor.cluster.records import written
from compactor.cluster.urls import ClusterUrl
from compactor.metrics.logs import logger
from compactor.pid import PID

log = logger("cluster")

_POLL = 1.0  # seconds between two looks at the file
_LARGEST = 1 << 20  # bytes of it

Names = dict[str, dict[bytes, int]]
"""The records by name, each with a number that is new when it appears."""


class StaticEngine(Engine):
    """Names that nobody registers.

    Args:
        url: ``static://orders@10.0.0.1:5050,billing@10.0.0.2:5050``, a name being the id of a pid;
            or ``static:///etc/shop/names.json``, whose JSON has lists of pids by name.
    """

    capabilities = frozenset({NAMES})

    def __init__(self, url: ClusterUrl) -> None:
        self._url = url
        url.check_options(())
        self._names: Names = {}
        self._stamp: Any = None
        self._numbers = itertools.count(1)
        self._told: dict[int, tuple[str, Told]] = {}
        self._task: asyncio.Task[None] | None = None
        self._file = url.path if not url.pids else ""
        if url.pids and url.path.strip("/"):
            raise ValueError(
                f"{url.text!r} is no URL of a cluster: static:// has pids, or the path of a file"
            )
        if not url.pids and not self._file.strip("/"):
            raise ValueError(
                f"{url.text!r} is no URL of a cluster: static:// needs pids, as "
                "static://orders@10.0.0.1:5050, or a file, as static:///etc/shop/names.json"
            )
        for text in url.pids:
            pid = PID.from_string(text)
            self._names.setdefault(pid.id, {})[written(pid, None)] = next(self._numbers)

    async def begin(self, session: float) -> float:
        if self._file:
            try:
                self._read()
            except (OSError, ValueError) as error:
                raise ClusterUnreachable(f"{self._file} cannot be used: {error}") from error
            self._task = asyncio.get_running_loop().create_task(self._follow())
        return float("inf")

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def watch(self, place: str, told: Told) -> Callable[[], None]:
        key = next(self._numbers)
        name = place.partition("/")[2]
        self._told[key] = name, told
        asyncio.get_running_loop().call_soon(self._tell, key)
        return lambda: self._told.pop(key, None) and None

    def _tell(self, key: int) -> None:
        if key in self._told:
            name, told = self._told[key]
            values = self._names.get(name, {})
            told([Record(str(number), number, value) for value, number in values.items()])

    async def _follow(self) -> None:
        is_bad = False
        while True:
            await asyncio.sleep(_POLL)
            try:
                has_changed = self._read()
            except (OSError, ValueError) as error:
                if not is_bad:
                    log.warning(
                        "%s cannot be used, and what it said before holds: %s", self._file, error
                    )
                is_bad = True
                continue
            is_bad = False
            for key in list(self._told) if has_changed else ():
                self._tell(key)

    def _read(self) -> bool:
        """Read the file, unless it is as it was."""
        found = os.stat(self._file)
        stamp = found.st_mtime_ns, found.st_size, found.st_ino
        if stamp == self._stamp:
            return False
        with open(self._file, "rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST} bytes")
        before, self._names = self._names, {}
        for name, values in _names_in(content).items():
            known = before.get(name, {})
            self._names[name] = {v: known.get(v) or next(self._numbers) for v in values}
        self._stamp = stamp
        return True


def _names_in(content: bytes) -> dict[str, list[bytes]]:
    """The records by name.

    Raises:
        ValueError: it is not JSON of that form.
    """
    form = '{"orders": ["orders@10.0.0.1:5050", {"pid": "...", "metadata": {...}}]}'
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from error
    if not isinstance(told, dict) or not all(isinstance(each, list) for each in told.values()):
        raise ValueError(f"it has lists of pids by name, as {form}")
    return {name: [_record(name, each, form) for each in entries] for name, entries in told.items()}


def _record(name: str, entry: Any, form: str) -> bytes:
    try:
        if isinstance(entry, str):
            return written(PID.from_string(entry), None)
        return written(PID.from_string(entry["pid"]), entry.get("metadata"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{entry!r} of {name!r} is no pid ({error}); it is as in {form}") from None
