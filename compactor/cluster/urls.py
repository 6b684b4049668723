"""``ClusterUrl``: where names are kept, as users write it; and the names themselves."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple, NoReturn
from urllib.parse import parse_qsl, unquote

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?", re.IGNORECASE)
_LONGEST = 200  # characters of a name


class ClusterUrl(NamedTuple):
    """The parts of a URL.

    Attributes:
        text: the URL without its password, for errors and the log.
        scheme: which engine.
        user: who signs in, or empty.
        password: of the user.
        hosts: (host, port); the port is 0 where none is given.
        pids: what stands there instead in ``static://``.
        path: below which all is kept; begins with a slash, or is empty.
        options: what stands behind the question mark.
    """

    text: str
    scheme: str
    user: str
    password: str
    hosts: tuple[tuple[str, int], ...]
    pids: tuple[str, ...]
    path: str
    options: dict[str, str]

    @classmethod
    def parse(cls, url: str) -> ClusterUrl:
        """Take a URL to its parts.

        Raises:
            TypeError: it is no text.
            ValueError: it is no URL of that form.
        """
        if not isinstance(url, str):
            raise TypeError(
                f"a cluster has a URL such as 'zk://zk1:2181,zk2:2181/shop', got {url!r}"
            )
        found = _URL.fullmatch(url.strip())
        if not found:
            _refuse(
                _hidden(url), "it is not of the form scheme://[user:password@]host:port,.../path"
            )
        scheme, place, path, query = found.groups()
        pids: tuple[str, ...] = ()
        if scheme.lower() == "static":
            pids, place = tuple(filter(None, unquote(place).split(","))), ""
        account, at, places = place.rpartition("@")
        text = _hidden(url.strip())
        user, _, password = account.partition(":")
        if at and not user:
            _refuse(text, "there is no user before the @")
        hosts = tuple(_host(text, each) for each in places.split(",")) if places else ()
        who = unquote(user), unquote(password)
        options = dict(parse_qsl(query or "", keep_blank_values=True))
        return cls(text, scheme.lower(), *who, hosts, pids, unquote(path), options)

    def need(self, port: int, options: tuple[str, ...] = ()) -> tuple[tuple[str, int], ...]:
        """The hosts, of which there must be one, with a port where they have none.

        Raises:
            ValueError: there is no host, or an option that the engine does not know.
        """
        self.check_options(options)
        if not self.hosts:
            _refuse(self.text, f"it names no host, as {self.scheme}://host:{port}/shop does")
        return tuple((host, number or port) for host, number in self.hosts)

    def check_options(self, known: tuple[str, ...]) -> None:
        """Refuse options that are not among these.

        Raises:
            ValueError: there is another one.
        """
        for option in self.options:
            if option not in known:
                knows = ", ".join(known) or "none"
                _refuse(self.text, f"option {option!r} is not known; {self.scheme} has {knows}")

    def place(self) -> tuple[str, ...]:
        """The parts of the path, of which there must be one.

        Raises:
            ValueError: there is none, or one that cannot be.
        """
        parts = tuple(self.path.strip("/").split("/")) if self.path.strip("/") else ()
        if not parts:
            _refuse(
                self.text,
                "its path is the root, which belongs to all programs of that engine; "
                f"give it one of its own, as {self.scheme}://.../shop",
            )
        for part in parts:
            check_name(part, "each part of the path")
        return parts


def _refuse(text: str, why: str) -> NoReturn:
    raise ValueError(f"{text!r} is no URL of a cluster: {why}")


def _hidden(url: str) -> str:
    """A URL without its password."""
    scheme, found, rest = url.partition("://")
    if not found:
        return url
    place, slash, path = rest.partition("/")
    account, at, hosts = place.rpartition("@")
    user, colon, _ = account.partition(":")
    return f"{scheme}://{user}{colon and ':***'}{at}{hosts}{slash}{path}"


def _host(text: str, place: str) -> tuple[str, int]:
    host, port = place, ""
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            _refuse(text, f"{place!r} is no IPv6 address and port")
        port = rest[1:]
    elif ":" in place:
        host, _, port = place.rpartition(":")
    if not host or (":" in host and not place.startswith("[")) or re.search(r"[\s\x00-\x1f]", host):
        _refuse(text, f"{place!r} is no host and port")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= 65535):
        _refuse(text, f"{port!r} is no port from 1 to 65535")
    return host, int(port or 0)


def check_name(name: object, what: str = "a name") -> str:
    """Return a name under which something can be registered, or led.

    Raises:
        TypeError: it is no text.
        ValueError: it is empty, too long, or holds what engines or pids cannot hold.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, got {name!r}")
    if not 0 < len(name) <= _LONGEST:
        raise ValueError(f"{what} has 1 to {_LONGEST} characters, got {len(name)}")
    if name in (".", "..") or not name.isprintable() or set(name) & set(" /@"):
        raise ValueError(
            f"{what} holds no slashes, blanks, NUL or other controls, and no @, "
            f"and is neither . nor .., got {name!r}"
        )
    return str.__str__(name)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, and nobody else can mean it."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
