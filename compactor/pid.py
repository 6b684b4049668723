"""``PID``: the address of a process, ``id@ip:port``."""

from __future__ import annotations

import functools
import re
from typing import Any, NoReturn
from urllib.parse import quote

Address = tuple[str, int]
"""An ip or host name, and a port."""

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f@\ud800-\udfff]")

# compactor 0.3.0 compares the raw path, so only what would break the request line, or what a
# receiver would decode into something else, is escaped.
_RAW_IN_PATH = "()@:!$&'*,;=~"

_BLANKS = " \t\r\n\f\v"  # not what else str.strip() takes: an id may begin with it


def check_id(id_: object) -> str:
    """Return ``id_``, as a plain ``str``, if it can name a process on the wire.

    Raises:
        TypeError: it is not a ``str``.
        ValueError: it holds blanks, control characters or ``@``: pids travel in HTTP headers,
            where libprocess cuts them at the first blank and splits them at the first ``@``.
    """
    if not isinstance(id_, str):
        raise TypeError(f"a process id must be a str, got {id_!r}")
    id_ = str.__str__(id_)  # str() and f-strings print a member of a str Enum otherwise
    found = _FORBIDDEN.search(id_)
    if found:
        raise ValueError(f"process id {id_!r} must not contain {found.group()!r}")
    return id_


def escape_id(id_: str) -> str:
    """A process id as it stands in the path of a request."""
    return quote(id_, safe=_RAW_IN_PATH)


@functools.lru_cache(maxsize=1024)
def _check_address(ip: str, port: int) -> None:
    if _FORBIDDEN.search(ip) or not ip or "[" in ip or "/" in ip:
        raise ValueError(f"{ip!r} is not an IP address or host name")
    if not 0 <= port <= 65535:
        raise ValueError(f"port {port} is not from 0 to 65535")


@functools.total_ordering
class PID:
    """The address of one process; immutable, hashable and ordered by (ip, port, id).

    Args:
        ip: an IPv4 or IPv6 address, or a host name, which is resolved when it is dialled.
        port: 0 to 65535.
        id_: the name of the process, e.g. ``slave(1)``; may be empty.

    Raises:
        TypeError, ValueError: a part cannot be used; the text says which and why.

    Example:
        >>> PID.from_string("slave(1)@192.0.2.7:5051").port
        5051
    """

    __slots__ = ("_hash", "id", "ip", "port")

    ip: str
    port: int
    id: str
    _hash: int

    @classmethod
    def from_string(cls, pid: str) -> PID:
        """Parse ``id@ip:port``; an IPv6 address stands in brackets, ``id@[::1]:5050``.

        Raises:
            ValueError: the text is not of that form.
            TypeError: ``pid`` is not a ``str``.
        """
        if not isinstance(pid, str):
            raise TypeError(f"a PID is parsed from a str, got {pid!r}")
        id_, at, address = pid.strip(_BLANKS).partition("@")
        host, colon, port = address.rpartition(":")
        if not (at and colon and host and port.isascii() and port.isdigit()):
            raise ValueError(f"Invalid PID: {pid!r} is not of the form id@ip:port")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f"Invalid PID: {pid!r} has an IPv6 address without brackets")
        try:
            return cls(host, int(port), id_)
        except ValueError as error:
            raise ValueError(f"Invalid PID: {pid!r}: {error}") from None

    def __init__(self, ip: str, port: int, id_: str) -> None:
        if not isinstance(ip, str):
            raise TypeError(f"the ip of a PID must be a str, got {ip!r}")
        if not isinstance(port, int) or isinstance(port, bool):
            raise TypeError(f"the port of a PID must be an int, got {port!r}")
        _check_address(ip, port)
        put = object.__setattr__
        put(self, "ip", ip)
        put(self, "port", port)
        put(self, "id", check_id(id_))
        put(self, "_hash", hash((ip, port, id_)))

    @property
    def address(self) -> tuple[str, int]:
        """``(ip, port)``, which all processes of one context share."""
        return self.ip, self.port

    @property
    def host(self) -> str:
        """``ip:port`` as URLs and ``Host`` headers spell it."""
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"

    def as_url(self, endpoint: str | None = None) -> str:
        """Return ``http://ip:port/id[/endpoint]``, the id escaped where a path needs it."""
        url = f"http://{self.host}/{escape_id(self.id)}"
        return f"{url}/{endpoint}" if endpoint else url

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"a PID is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a PID is immutable: cannot delete {name!r}")

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, PID)
            and self.port == other.port
            and self.id == other.id
            and self.ip == other.ip
        )

    def __lt__(self, other: PID) -> bool:
        if not isinstance(other, PID):
            return NotImplemented
        return (self.ip, self.port, self.id) < (other.ip, other.port, other.id)

    def __reduce__(self) -> tuple[type[PID], tuple[str, int, str]]:
        return type(self), (self.ip, self.port, self.id)

    def __str__(self) -> str:
        return f"{self.id}@{self.host}"

    def __repr__(self) -> str:
        return f"PID({self.ip}, {self.port}, {self.id})"


NOBODY = PID("0.0.0.0", 0, "")
"""The empty pid: the sender of a message that names none, as in libprocess."""


def check_pid(pid: Any) -> None:
    """Refuse what is no PID.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(pid, PID):
        raise TypeError(f"expected a PID such as PID('192.0.2.7', 5050, 'master'), got {pid!r}")
