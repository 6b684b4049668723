"""``MasterInfo``: a master as its record in ZooKeeper tells of it, read and written as C++ does."""

from __future__ import annotations

import functools
import ipaddress
import json
from dataclasses import dataclass
from typing import Any, Final, cast

from compactor.mesos.errors import MasterInfoError
from compactor.metrics.logs import readable
from compactor.pid import PID
from compactor.system.system import system

_MASTER: Final = "master"  # the process of every master

_OPTIONAL, _REQUIRED, _REPEATED = 1, 2, 3
_INT32, _STRING, _UINT32, _MESSAGE = 5, 9, 13, 11
_FIELDS: Final = {  # of mesos.proto; what it has besides is skipped
    "Address": [("hostname", 1, _STRING, _OPTIONAL), ("ip", 2, _STRING, _OPTIONAL),
                ("port", 3, _INT32, _REQUIRED)],
    "MasterInfo": [("id", 1, _STRING, _REQUIRED), ("ip", 2, _UINT32, _REQUIRED),
                   ("port", 3, _UINT32, _REQUIRED), ("pid", 4, _STRING, _OPTIONAL),
                   ("hostname", 5, _STRING, _OPTIONAL), ("version", 6, _STRING, _OPTIONAL),
                   ("address", 7, _MESSAGE, _OPTIONAL)],
}  # fmt: skip


@dataclass(frozen=True)
class MasterInfo:
    """A master of Mesos.

    Args:
        pid: the address of its process, as a PID or a text ``master@192.0.2.7:5050``.
        id: tells this run of the master from others; empty for one of random digits.
        hostname: a name for people; empty for the address in ``pid``.
        version: of Mesos, such as ``1.11.0``; empty if it is not known.
        capabilities: what it says that it can do, such as ``AGENT_UPDATE``.

    Raises:
        TypeError, ValueError: the pid is none.

    Example:
        >>> MasterInfo("master@192.0.2.7:5050", version="1.11.0").pid.port
        5050
    """

    pid: PID
    id: str
    hostname: str
    version: str
    capabilities: tuple[str, ...]

    def __init__(
        self,
        pid: PID | str,
        id: str = "",
        hostname: str = "",
        version: str = "",
        capabilities: tuple[str, ...] = (),
    ) -> None:
        found = pid if isinstance(pid, PID) else PID.from_string(pid)
        if not found.id or not found.port:
            raise MasterInfoError(
                f"{str(found)!r} is not the pid of a master, such as master@192.0.2.7:5050"
            )
        for name, text in (("id", id), ("hostname", hostname), ("version", version)):
            if not isinstance(text, str):
                raise TypeError(f"{name} of a master must be a str, got {text!r}")
        set_field = object.__setattr__
        set_field(self, "pid", found)
        set_field(self, "id", id or system().random_bytes(16).hex())
        set_field(self, "hostname", hostname or found.ip)
        set_field(self, "version", version)
        set_field(self, "capabilities", tuple(capabilities))

    def to_json(self) -> bytes:
        """The record as C++ writes it: the address of IPv4 also as a number, its first byte lowest.

        Raises:
            MasterInfoError: the pid has a host name or an address of IPv6, for which records have
                no place.
        """
        try:
            number = int.from_bytes(ipaddress.IPv4Address(self.pid.ip).packed, "little")
        except ValueError:
            raise MasterInfoError(
                f"{self.pid} cannot be announced: the record of a master has an address of IPv4"
            ) from None
        record: dict[str, Any] = {
            "address": {"hostname": self.hostname, "ip": self.pid.ip, "port": self.pid.port},
            "hostname": self.hostname,
            "id": self.id,
            "ip": number,
            "pid": str(self.pid),
            "port": self.pid.port,
        }
        if self.version:
            record["version"] = self.version
        if self.capabilities:
            record["capabilities"] = [{"type": name} for name in self.capabilities]
        return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes | str) -> MasterInfo:
        """Read a record as newer masters write it, or what ``GET_MASTER`` answers about one.

        Raises:
            MasterInfoError: it is none; the text says what is wrong.
        """
        try:
            record = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise MasterInfoError(f"it is no JSON: {readable(str(error))}") from None
        if not isinstance(record, dict):
            raise MasterInfoError("it is no object of JSON")
        return _from_fields(cast("dict[str, Any]", record))

    @classmethod
    def from_protobuf(cls, data: bytes) -> MasterInfo:
        """Read a record as masters before Mesos 0.24 write it: a serialized ``mesos.MasterInfo``.

        Raises:
            MasterInfoError: it is none; the text says what is wrong.
        """
        from google.protobuf.message import DecodeError

        message = _message_class()()
        try:
            message.ParseFromString(data)
        except DecodeError as error:
            raise MasterInfoError(f"it is no serialized MasterInfo: {error}") from None
        if missing := message.FindInitializationErrors():
            raise MasterInfoError(f"it has no {missing[0]}")
        return _from_fields({field.name: value for field, value in message.ListFields()})


def _from_fields(record: dict[str, Any]) -> MasterInfo:
    """A master of the fields of its message, which are checked."""
    ip = _field(record, "ip", int, is_required=True)
    port = _field(record, "port", int, is_required=True)
    if not 0 <= ip < 1 << 32:
        raise MasterInfoError(f"its ip {readable(str(ip))} is no number of 32 bits")
    if not 0 < port < 1 << 16:
        raise MasterInfoError(f"its port {readable(str(port))} is not from 1 to 65535")
    address = ipaddress.IPv4Address(ip.to_bytes(4, "little"))
    pid = _field(record, "pid", str) or f"{_MASTER}@{address}:{port}"
    capabilities: Any = record.get("capabilities", ())
    names = (
        [cast("Any", c).get("type") if isinstance(c, dict) else None for c in capabilities]
        if isinstance(capabilities, list)
        else []
    )
    try:
        return MasterInfo(
            pid,
            id=_field(record, "id", str, is_required=True),
            hostname=_field(record, "hostname", str) or "",
            version=_field(record, "version", str) or "",
            capabilities=tuple(name for name in names if isinstance(name, str)),
        )
    except ValueError as error:
        raise MasterInfoError(f"its pid is none: {readable(str(error))}") from None


def _field(record: dict[str, Any], name: str, type_: type, is_required: bool = False) -> Any:
    value = record.get(name)
    if value is None and not is_required:
        return None
    if type(value) is not type_:  # True is no number
        kind = "a number" if type_ is int else "a text"
        told = "has no" if value is None else f"has {readable(repr(value))} as"
        raise MasterInfoError(f"it {told} {name}, which must be {kind}")
    return value


@functools.cache
def _message_class() -> Any:
    """The class of ``mesos.MasterInfo``, in a pool of its own: others may have the real one."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="master_info.proto", package="mesos")
    for message, fields in _FIELDS.items():
        made = file.message_type.add(name=message)
        for name, number, type_, label in fields:
            field = made.field.add(name=name, number=number, label=cast("Any", label))
            field.type = cast("Any", type_)
            if type_ == _MESSAGE:
                field.type_name = ".mesos.Address"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindMessageTypeByName("mesos.MasterInfo")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    factory: Any = message_factory.MessageFactory(pool)  # protobuf < 4.22
    return factory.GetPrototype(descriptor)
