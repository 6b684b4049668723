"""How busy this machine is, and how much memory it has."""

from __future__ import annotations

import contextlib
import os

_MEMINFO = "/proc/meminfo"
_LINES = 8 * 1024  # bytes of it, at most, that are looked at


def load() -> dict[str, float]:
    """The load of the machine, as far as the system tells, by libprocess's names."""
    found: dict[str, float] = {}
    with contextlib.suppress(OSError, AttributeError):
        averages = os.getloadavg()
        found = dict(
            zip(("avg_load_1min", "avg_load_5min", "avg_load_15min"), averages, strict=True)
        )
    if (cpus := os.cpu_count()) is not None:
        found["cpus_total"] = cpus
    return found


def memory() -> dict[str, int]:
    """The bytes of memory of the machine, as far as the system tells, by libprocess's names.

    As there, memory that holds files, and would be given to programs that need it, is not free.
    """
    with contextlib.suppress(OSError, ValueError, LookupError):
        with open(_MEMINFO, encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file.read(_LINES).splitlines())
        return {
            "mem_total_bytes": _bytes(lines["MemTotal"]),
            "mem_free_bytes": _bytes(lines["MemFree"]),
        }
    with contextlib.suppress(OSError, ValueError, AttributeError):
        page = os.sysconf("SC_PAGE_SIZE")
        return {"mem_total_bytes": page * os.sysconf("SC_PHYS_PAGES")}
    return {}


def _bytes(text: str) -> int:
    return int(text.split()[0]) * 1024
