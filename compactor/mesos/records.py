"""The records of masters below a path of ZooKeeper: their names, and which of them leads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from compactor.mesos.errors import MasterInfoError
from compactor.mesos.master_info import MasterInfo
from compactor.metrics.logs import readable
from compactor.pid import PID

JSON = "json.info"
PROTOBUF = "info"
BARE = ""
"""The labels of masters; a record without one holds the text of a pid."""

PREFIX = f"{JSON}_"
"""What the name of a new record begins with; ZooKeeper adds ten digits."""

_NAME = re.compile(r"(?:(?P<label>json\.info|info)_)?(?P<sequence>\d{10}|-\d{9,10})", re.ASCII)


class Record(NamedTuple):
    """A record of a master; the one of the smallest sequence leads.

    Attributes:
        sequence: the number that ZooKeeper gave it.
        label: how its content is written.
        name: of its node.
    """

    sequence: int
    label: str
    name: str


def leading(names: Iterable[str]) -> Record | None:
    """The record that leads of all in a folder; others, such as ``log_replicas``, are skipped."""
    found = [match for match in map(_NAME.fullmatch, names) if match]
    records = [Record(int(m["sequence"]), m["label"] or BARE, m.group()) for m in found]
    return min(records, default=None)


def read(record: Record, data: bytes) -> MasterInfo:
    """The master that a record tells of.

    Raises:
        MasterInfoError: its content is not what its name says.
    """
    try:
        if record.label == JSON:
            return MasterInfo.from_json(data)
        if record.label == PROTOBUF:
            return MasterInfo.from_protobuf(data)
        return _from_pid(data)
    except MasterInfoError as error:
        raise MasterInfoError(f"the record {record.name} is that of no master: {error}") from None


def _from_pid(data: bytes) -> MasterInfo:
    """Of a master before Mesos 0.17, which wrote its pid; the id is that text as well."""
    try:
        text = data.decode()
        return MasterInfo(PID.from_string(text), id=text)
    except ValueError as error:
        raise MasterInfoError(readable(str(error))) from None
