"""``Member`` and ``Leader``: what records say, written and read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compactor.cluster.engine import Record
from compactor.pid import PID

Metadata = Mapping[str, "str | int | float | bool | None"]

_LONGEST_INT = 30  # digits; more of them would take long to read


@dataclass(frozen=True)
class Member:
    """One of those that bear a name.

    Attributes:
        id: of this membership: who comes back has a new one.
        pid: of the process.
        metadata: what was registered with it.
    """

    id: str
    pid: PID
    metadata: Metadata = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Leader:
    """Who leads.

    Attributes:
        id: of this leadership.
        pid: of the process.
        term: which only grows from leader to leader.
    """

    id: str
    pid: PID
    term: int


def written(pid: PID, metadata: Metadata | None) -> bytes:
    """A record.

    Raises:
        TypeError, ValueError: the metadata cannot be written.
    """
    content: dict[str, Any] = {"pid": str(pid)}
    if metadata:
        content["metadata"] = checked_metadata(metadata)
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def checked_metadata(metadata: Metadata) -> dict[str, Any]:
    """A copy of the metadata, if they can be written.

    Raises:
        TypeError: they are no mapping of texts to plain values.
    """
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata is a mapping such as {{'zone': 'a'}}, got {metadata!r}")
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, (str, int, float, bool, type(None))):
            raise TypeError(
                f"metadata maps texts to texts, numbers, booleans or None, got {key!r}: {value!r}"
            )
        if type(value) is int and abs(value) >= 10 ** (_LONGEST_INT - 1):
            raise ValueError(f"metadata {key!r} has a number of too many digits")
    return dict(metadata)


def read(record: Record) -> Member | None:
    """The member that a record tells of; None if it is something else."""
    try:
        content = json.loads(record.value, parse_int=_int)
        pid = PID.from_string(content["pid"])
        metadata = checked_metadata(content.get("metadata", {}))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return Member(record.id, pid, metadata)


def _int(digits: str) -> int:
    if len(digits) > _LONGEST_INT:
        raise ValueError("a number is too long")
    return int(digits)
