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

_addresses: set[Address] = set()  # that passed: a program meets few, over and over
_MAX_ADDRESSES = 1024

_BLANKS = " \t\r\n\f\v"  # not what else str.strip() takes: an id may begin with it


def check_id(id_: object) -> str:
    """Return ``id_``, as a plain ``str``, if it can name a process on the wire.

    Raises:
        TypeError: it is not a ``str``.
        ValueError: it holds blanks, control characters or ``@``: pids travel in HTTP headers,
            where libprocess cuts them at the first blank and splits them at the first ``@``.
    """
    if type(id_) is str and id_.isprintable() and " " not in id_ and "@" not in id_:
        return id_  # as nearly all are; of what does not print, most may stand in an id
    if not isinstance(id_, str):
        raise TypeError(f"a process id must be a str, got {id_!r}")
    id_ = str.__str__(id_)  # else str() and f-strings print the name of an enum's member
    found = _FORBIDDEN.search(id_)
    if found:
        raise ValueError(f"process id {id_!r} must not contain {found.group()!r}")
    return id_


def escape_id(id_: str) -> str:
    """A process id as it stands in the path of a request."""
    return quote(id_, safe=_RAW_IN_PATH)


def _checked_address(ip: object, port: object) -> tuple[str, int]:
    """The parts of an address, as plain ones, if they are of one; it is remembered."""
    if not isinstance(ip, str):
        raise TypeError(f"the ip of a PID must be a str, got {ip!r}")
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"the port of a PID must be an int, got {port!r}")
    ip, port = str.__str__(ip), int(port)  # enums print the names of members
    if _FORBIDDEN.search(ip) or not ip or "[" in ip or "/" in ip:
        raise ValueError(f"{ip!r} is not an IP address or host name")
    if not 0 <= port <= 65535:
        raise ValueError(f"port {port} is not from 0 to 65535")
    if len(_addresses) >= _MAX_ADDRESSES:
        _addresses.clear()
    _addresses.add((ip, port))
    return ip, port


class _Parts:
    """What a pid keeps, as long as it can be set."""

    __slots__ = ("__weakref__", "id", "ip", "port")

    ip: str
    port: int
    id: str


@functools.total_ordering
class PID(_Parts):
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

    __slots__ = ()

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
        if type(port) is not int or type(ip) is not str or (ip, port) not in _addresses:
            ip, port = _checked_address(ip, port)
        id_ = check_id(id_)
        _put_ip(self, ip)
        _put_port(self, port)
        _put_id(self, id_)

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
        if endpoint is not None and not isinstance(endpoint, str):
            raise TypeError(f"the endpoint of a URL must be a str, got {endpoint!r}")
        url = f"http://{self.host}/{escape_id(self.id)}"
        return f"{url}/{endpoint}" if endpoint else url

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"a PID is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a PID is immutable: cannot delete {name!r}")

    def __hash__(self) -> int:
        return hash((self.ip, self.port, self.id))

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


# The slots by themselves, past ``__setattr__``; several times as fast as ``object.__setattr__``.
_put_ip, _put_port, _put_id = (vars(_Parts)[slot].__set__ for slot in ("ip", "port", "id"))

_new = _Parts.__new__


def pid_of(ip: str, port: int, id_: str) -> PID:
    """A pid of parts that are plain and have been checked, which takes a third of ``PID``."""
    pid: Any = _new(_Parts)
    pid.ip = ip
    pid.port = port
    pid.id = id_
    pid.__class__ = PID  # nothing can be set any more
    return pid  # type: ignore[no-any-return]


_MOST_DIGITS = 19  # of a number below 2 to the power of 64, whatever it is

_ZERO = ord("0")

TEMPORARY = "__req_res__("
"""How the id of a sender begins that waits for one answer, as libprocess names it."""


class Temporary(PID):
    """The pid that one ask is sent from, ``__req_res__(N)``; who answers it answers the ask.

    Attributes:
        asker: the process that asks; None where that is not told.
        number: N; -1 if it is spelled as we never spell it.
    """

    __slots__ = ("asker", "number")

    asker: PID | None
    number: int

    def __reduce__(self) -> tuple[type[PID], tuple[str, int, str]]:
        return PID, (self.ip, self.port, self.id)


_put_asker, _put_number = (vars(Temporary)[slot].__set__ for slot in ("asker", "number"))


def temporary_of(at: PID, number: bytes, asker: PID | None) -> Temporary:
    """The temporary pid of a number, at the address of another pid."""
    pid = Temporary.__new__(Temporary)
    _put_ip(pid, at.ip)
    _put_port(pid, at.port)
    _put_id(pid, f"{TEMPORARY}{number.decode()})")
    _put_asker(pid, asker)
    _put_number(pid, number_of_digits(number))
    return pid


def temporary_at(at: PID, number: int, asker: PID | None) -> Temporary:
    """The same, of a number that is not written yet."""
    return temporary_of(at, b"%d" % number, asker)


def number_of_digits(digits: bytes) -> int:
    """The number that is written in digits alone; -1 if we never write it so."""
    is_plain = len(digits) <= _MOST_DIGITS and (digits[0] != _ZERO or len(digits) == 1)
    return int(digits) if is_plain else -1


def number_in(pid: PID) -> int:
    """The number of a temporary pid; -1 as for ``number_of``."""
    return pid.number if type(pid) is Temporary else number_of(pid.id)


def number_of(id_: str) -> int:
    """The number of a temporary pid by its id; -1 if it has none, or one that we never spell so."""
    number = id_[len(TEMPORARY) : -1]
    if not (number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS):
        return -1
    is_plain = id_ == f"{TEMPORARY}{number})" and (number[0] != "0" or number == "0")
    return int(number) if is_plain else -1


NOBODY = PID("0.0.0.0", 0, "")
"""The empty pid: the sender of a message that names none, as in libprocess."""


def check_pid(pid: Any) -> None:
    """Refuse what is no PID.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(pid, PID):
        help_ = ""
        if isinstance(pid, str):
            help_ = "; PID.from_string makes one of text"
        elif isinstance(getattr(pid, "pid", None), PID):
            help_ = "; give its pid, which it has as .pid"
        raise TypeError(
            f"expected a PID such as PID('192.0.2.7', 5050, 'master'), got {pid!r}{help_}"
        )
