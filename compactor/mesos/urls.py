"""Where masters are found, as Mesos writes it: ``zk://``, ``file://`` and addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from compactor.mesos.errors import MasterInfoError, MasterUrlError
from compactor.mesos.master_info import MasterInfo

SCHEME = "zk://"
_FILE = "file://"
_FORMS = "zk://[user:password@]host:port,.../path, file:///path or [master@]host:port"

_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+")
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff]")  # for ZooKeeper
_MOST_IN_FILE = 64 << 10


@dataclass(frozen=True)
class ZooKeeperUrl:
    """A path in a ZooKeeper.

    Attributes:
        hosts: its servers, ``host:port,...``.
        path: where the masters are, such as ``/mesos``.
        credentials: ``user:password``, or None; printed nowhere.
    """

    hosts: str
    path: str
    credentials: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{SCHEME}{'***@' if self.credentials else ''}{self.hosts}{self.path}"


def parse(text: str) -> ZooKeeperUrl | MasterInfo:
    """Where a detector looks: a ZooKeeper, or one master that leads whatever happens.

    Args:
        text: a URL or an address; ``file://`` names a file that holds one, so that credentials
            stand in no list of processes.

    Raises:
        MasterUrlError: it is none; the text says what is wrong.
        TypeError: it is no ``str``.
    """
    if not isinstance(text, str):
        raise TypeError(
            f"a URL of masters must be a str such as zk://host:2181/mesos, got {text!r}"
        )
    text = text.strip()
    if text.startswith(_FILE):
        text = _in_file(text.removeprefix(_FILE))
    if text.startswith(SCHEME):
        return parse_zookeeper(text)
    if "://" in text or not text:
        raise MasterUrlError(f"{_hidden(text)!r} names no master: it must be {_FORMS}")
    try:
        return MasterInfo(text if "@" in text else f"master@{text}")
    except (MasterInfoError, ValueError):
        raise MasterUrlError(f"{_hidden(text)!r} names no master: it must be {_FORMS}") from None


def parse_zookeeper(text: str) -> ZooKeeperUrl:
    """A ``zk://`` URL, read as Mesos reads it: nothing in it is percent-decoded.

    Raises:
        MasterUrlError: it is none; the text says what is wrong.
        TypeError: it is no ``str``.
    """
    if not isinstance(text, str):
        raise TypeError(
            f"a URL of ZooKeeper must be a str such as zk://host:2181/mesos, got {text!r}"
        )
    if not text.strip().startswith(SCHEME):
        raise MasterUrlError(
            f"{_hidden(text)!r} is no URL of ZooKeeper: {SCHEME}host:port,.../path"
        )
    before, slash, path = text.strip().removeprefix(SCHEME).partition("/")
    credentials, at, hosts = before.rpartition("@")
    if not at and "@" in path:  # the password may be in there: nothing of it is shown
        raise MasterUrlError(
            f"a URL {SCHEME}*** has an @ behind its first slash, where the path is: "
            "a password with a slash cannot stand in it"
        )
    shown = f"{SCHEME}{'***@' if at else ''}{hosts}{slash}{path}"
    user, colon, password = credentials.partition(":")
    if at and not (user and colon and password):
        raise MasterUrlError(f"{shown!r} has credentials that are not user:password")
    for host in hosts.split(","):
        _check_host(host, shown)
    return ZooKeeperUrl(hosts, _checked_path(slash + path, shown), credentials or None)


def _check_host(host: str, shown: str) -> None:
    name, colon, port = host.rpartition(":")
    if not colon or not _HOST.fullmatch(name):
        raise MasterUrlError(f"{shown!r} has a server {host!r}, which must be host:port")
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
        raise MasterUrlError(f"{shown!r} has a server {host!r}, whose port must be from 1 to 65535")


def _checked_path(path: str, shown: str) -> str:
    path = path.rstrip("/")
    if not path:
        raise MasterUrlError(
            f"{shown!r} has no path, and / is none for masters: name one, as in "
            f"{shown.rstrip('/')}/mesos"
        )
    if any(part in ("", ".", "..") for part in path[1:].split("/")):
        raise MasterUrlError(f"{shown!r} has a path with an empty part, '.' or '..'")
    if found := _UNUSABLE.search(path):
        raise MasterUrlError(
            f"{shown!r} has {found.group()!r} in its path, which ZooKeeper refuses"
        )
    if path == "/zookeeper" or path.startswith("/zookeeper/"):
        raise MasterUrlError(f"{shown!r} has a path that ZooKeeper keeps for itself")
    return path


def _in_file(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            text = file.read(_MOST_IN_FILE + 1).decode().strip()
    except (OSError, ValueError) as error:
        raise MasterUrlError(
            f"the file {name!r}, which names the masters, cannot be read: {error}"
        ) from None
    if len(text) > _MOST_IN_FILE or text.startswith(_FILE):
        raise MasterUrlError(f"the file {name!r} must hold zk://host:port,.../path or host:port")
    return text


def _hidden(text: str) -> str:
    """A text without what may be credentials."""
    scheme, found, rest = text.strip().rpartition("://")
    before, at, behind = rest.rpartition("@")
    if at and (found or ":" in before or len(before) > 20):
        before = "***"
    return f"{scheme}{found}{before}{at}{behind}"
