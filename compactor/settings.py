"""Every setting of a context: name, default, check, and the reason for each bound.

Those of TLS stand in ``tls_settings.py``.  Nothing else reads ``LIBPROCESS_*`` variables.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, NamedTuple

from compactor.errors import SettingsError
from compactor.wire.browsers import ANY, HOST, ORIGIN

_MIB = 1024 * 1024
_PREFIX = re.compile(r"(?:/(?!\.)[A-Za-z0-9._~-]+)*")
_MAX_COUNT = 2**62  # compiled code counts in signed words
ADDRESS = ("ip", "port", "advertise_ip", "advertise_port")


def setting(default: Any, reason: str) -> Any:
    """A field of settings, with a default and the reason for it."""
    return field(default=default, metadata={"reason": reason})


def described(settings: Any) -> list[Setting]:
    """Every field of settings with its value there, its default, and the reason for it."""
    return [
        Setting(
            f.name,
            getattr(settings, f.name),
            None if f.default is MISSING else f.default,
            f.metadata["reason"],
        )
        for f in fields(settings)
    ]


class Setting(NamedTuple):
    """One setting: what it is, would be by default (None if it must be given), and why."""

    name: str
    value: Any
    default: Any
    reason: str


@dataclass(frozen=True)
class Settings:
    """What a context is told about its address and its bounds.

    Sizes are bytes, times are seconds.  ``describe()`` tells the reason for each.
    """

    ip: str = setting("0.0.0.0", "address to bind; C++ libprocess's default")
    port: int = setting(0, "port to bind, 0 for an ephemeral one")
    advertise_ip: str | None = setting(
        None, "address that pids carry, where it differs from the bound one (NAT, containers)"
    )
    advertise_port: int | None = setting(
        None, "port that pids carry, where it differs from the bound one"
    )

    max_header_bytes: int = setting(
        80 * 1024, "request line to blank line; the limit of http-parser and so of C++ libprocess"
    )
    max_header_fields: int = setting(
        1_000, "lines behind the request line; as many as fit would take 12 ms to parse"
    )
    max_body_bytes: int = setting(
        100 * _MIB, "one body; compactor 0.3.0 refused more than this as well"
    )
    max_inflated_bytes: int = setting(
        100 * _MIB, "one body that came compressed; a small one can inflate a thousandfold"
    )
    request_timeout: float = setting(
        120.0, "from the first byte of a request to its last; 100 MiB at 1 MB/s take 100 s"
    )
    max_connections: int = setting(
        65_536, "accepted connections; one costs about 5 KB and a file descriptor"
    )
    max_connections_per_ip: int = setting(
        4_096, "accepted connections from one address, so that one host cannot take them all"
    )
    spare_descriptors: int = setting(
        64, "file descriptors that accepted connections leave to the rest of the program"
    )
    max_pipelined: int = setting(
        1_000, "unanswered requests of one connection beyond which it is not read"
    )
    max_pipelined_bytes: int = setting(
        8 * _MIB, "bodies and headers of those requests beyond which it is not read either"
    )
    max_unread_bytes: int = setting(
        64 * _MIB, "answers that one peer has not read, beyond which one more cuts the connection"
    )
    max_unread_bytes_in_all: int = setting(
        256 * _MIB,
        "the same of all peers; beyond it, those are cut that have read none for longest",
    )
    unread_timeout: float = setting(
        60.0, "in which a peer with unread answers reads none of them and is cut; nginx's default"
    )
    max_parked_bytes: int = setting(
        64 * _MIB, "frames waiting for one destination; more become dead letters"
    )
    parked_high_water_bytes: int = setting(
        8 * _MIB, "frames waiting for one destination beyond which drained() waits for a quarter"
    )
    mailbox_high_water: int = setting(
        10_000, "events in one mailbox beyond which the sockets that feed it are not read"
    )
    mailbox_high_water_bytes: int = setting(
        8 * _MIB, "what is over 4 KiB in one mailbox, beyond which those sockets are not read"
    )
    mailbox_high_water_bytes_in_all: int = setting(
        128 * _MIB, "the same in all mailboxes, 16 of them full; beyond it, the same for any of it"
    )
    max_mailbox_events: int = setting(
        1_000_000, "events in one mailbox beyond which local sends become dead letters"
    )
    max_concurrent_handlers: int = setting(
        1_000, "concurrent handlers of one process; one more holds its mailbox until one ends"
    )
    max_processes: int = setting(
        1_000_000, "live processes, each of at least 500 bytes; more cannot be spawned"
    )
    max_process_metrics: int = setting(
        256, "processes that metrics are shown of, one by one: those that have handled most"
    )
    process_histograms: bool = setting(
        False, "times of each process by itself; 15 KiB for each that has handled something"
    )
    max_remote_links: int = setting(
        1_000_000, "processes here that others watch, counted for each of them at 70 bytes"
    )
    connect_timeout: float = setting(
        10.0, "name lookup and connecting; C++ leaves it to the kernel, about two minutes"
    )
    peer_timeout: float = setting(
        60.0, "silence of a peer's machine; a switch restarts faster, Mesos waits 75 s for an agent"
    )
    notice_interval: float = setting(
        15.0, "silence towards linkers; proxies cut what is silent for 30 to 60 s"
    )
    linger: float = setting(1.0, "what stop() gives parked messages and started answers to leave")
    local_handover: bool = setting(
        False, "contexts of one OS process that both have it meet in memory; never with TLS"
    )
    slow_handler: float = setting(
        0.1,
        "a handler that holds the loop for longer is reported; 0 for none; asyncio's in debug mode",
    )

    ask_timeout: float = setting(30.0, "an answer that takes longer is no longer waited for")
    http_error_text: bool = setting(
        False, "over HTTP askers see what errors say, not their types alone; it may quote secrets"
    )
    access_timeout: float = setting(
        10.0, "an async authenticator or authorizer that takes longer is answered for with 503"
    )

    endpoints: bool = setting(
        True, "serve /help, /health and the like, as C++ libprocess does, where no process does"
    )
    endpoints_prefix: str = setting(
        "", "what stands before the paths of those, as '/admin'; for what has such paths itself"
    )

    health_timeout: float = setting(
        0.5, "what /health gives checks to answer; probes of Kubernetes wait for a second"
    )

    require_peer_address_ip_match: bool = setting(
        False,
        "messages must come from the IP address of their sender; off in C++, too",
    )
    allowed_hosts: tuple[str, ...] = setting(
        (),
        "names by which browsers may call this context, '*' for any; a page can make up its own",
    )
    allowed_origins: tuple[str, ...] = setting(
        (), "whose web pages may send messages and change things, '*' for all; nobody's by default"
    )
    warn_unprotected: bool = setting(
        True, "warn, once in a program, when others than this host can connect without TLS"
    )

    def __post_init__(self) -> None:
        for name in ("port", "advertise_port"):
            value = getattr(self, name)
            if value is not None:
                low = 1 if name == "advertise_port" else 0
                if not isinstance(value, int) or isinstance(value, bool):
                    raise SettingsError(f"{name}={value!r} must be an int from {low} to 65535")
                _check_range(name, value, low, 65535)
        if not isinstance(self.ip, str) or not self.ip:
            raise SettingsError(f"ip={self.ip!r} must be an IP address or host name to bind")
        if self.advertise_ip is not None:
            advertised = _check_ip("advertise_ip", self.advertise_ip, unspecified=False)
            object.__setattr__(self, "advertise_ip", advertised)
        for given in (f for f in fields(self) if f.name not in ADDRESS):
            value = getattr(self, given.name)
            if isinstance(given.default, bool):
                if type(value) is not bool:
                    raise SettingsError(f"{given.name}={value!r} must be True or False")
            elif isinstance(given.default, tuple):
                object.__setattr__(self, given.name, _check_texts(given.name, value))
            elif isinstance(given.default, str):
                _check_prefix(given.name, value)
            elif isinstance(given.default, int):
                if type(value) is not int or not 0 < value <= _MAX_COUNT:
                    raise SettingsError(
                        f"{given.name}={value!r} must be a number above 0, whole, and at most 2**62"
                    )
            elif given.name != "slow_handler" or type(value) not in (int, float) or value != 0:
                check_seconds(given.name, value)
        for name in ("ask_timeout", "health_timeout"):
            if getattr(self, name) == math.inf:
                raise SettingsError(f"{name} must be a finite number of seconds above 0, not inf")

    def describe(self) -> list[Setting]:
        """Every setting with its value here, its default, and the reason for it."""
        return described(self)

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str] | None = None, base: Settings | None = None, **given: Any
    ) -> Settings:
        """Combine explicit values, the environment and the defaults, in that order of precedence.

        Args:
            environ: the variables, by default ``os.environ``.
            base: settings to start from, by default ``Settings()``; those of them that differ
                from the defaults are explicit values.
            given: explicit values by field name; ``None`` means not given.

        Raises:
            SettingsError: a value breaks its rule; the text names variable, value and rule.
            TypeError: ``base`` is no ``Settings``.
        """
        if base is not None and not isinstance(base, cls):
            raise TypeError(f"settings must be a compactor.Settings, got {base!r}")
        if environ is not None and not isinstance(environ, Mapping):
            raise TypeError(f"environ must be a mapping of variables to values, got {environ!r}")
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for name, setting, parse in _VARIABLES:
            if name in environ and given.get(setting) is None:
                value = parse(name, environ[name])
                if base is None or getattr(base, setting) == getattr(cls, setting):
                    values[setting] = value
        values.update((name, value) for name, value in given.items() if value is not None)
        return replace(base or cls(), **values)


def _check_ip(name: str, text: Any, unspecified: bool = True) -> str:
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except (ValueError, AttributeError):
        raise SettingsError(f"{name}={text!r} must be an IP address such as 192.0.2.7") from None
    if address.is_unspecified and not unspecified:
        raise SettingsError(f"{name}={text!r} must be an address that peers can dial")
    return str(address)


def _check_range(name: str, number: int, low: int, high: int) -> int:
    if not low <= number <= high:
        raise SettingsError(f"{name}={number!r} must be from {low} to {high}")
    return number


def _check_prefix(name: str, value: Any) -> None:
    if not isinstance(value, str) or not _PREFIX.fullmatch(value):
        raise SettingsError(
            f"{name}={value!r} must be empty, or a path such as '/admin', without a '/' at its end"
        )


_TEXTS = {
    "allowed_hosts": (HOST, "the host names without port, such as 'box.example.com', or '*'"),
    "allowed_origins": (ORIGIN, "the origins such as 'https://ui.example.com', 'null' or '*'"),
}


def _check_texts(name: str, value: Any) -> tuple[str, ...]:
    pattern, rule = _TEXTS[name]
    if not isinstance(value, (tuple, list, set, frozenset)):
        raise SettingsError(f"{name}={value!r} must be a tuple of {rule}")
    texts = tuple(text.lower() if isinstance(text, str) else text for text in value)
    for text in texts:
        if text != ANY and not (isinstance(text, str) and pattern.fullmatch(text)):
            raise SettingsError(f"{name}: {text!r} must be one of {rule}")
    return texts


def check_seconds(name: str, value: Any) -> None:
    """Raise ``SettingsError`` for what is no time; an infinite one is."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not value > 0:
        raise SettingsError(f"{name}={value!r} must be a number above 0")
    try:
        float(value)
    except OverflowError:
        raise SettingsError(f"{name} must be a number below 2**1024, or infinite") from None


def parse_bool(name: str, text: str) -> bool:
    """The truth value of a variable, in the words of libprocess."""
    if text not in ("true", "1", "false", "0"):
        raise SettingsError(f"{name}={text!r} must be true, 1, false or 0")
    return text in ("true", "1")


def _parse_port(name: str, text: str) -> int:
    low = 1 if name == "LIBPROCESS_ADVERTISE_PORT" else 0
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= 65535):
        raise SettingsError(f"{name}={text!r} must be a whole number from {low} to 65535")
    return int(text)


_VARIABLES = (
    ("LIBPROCESS_IP", "ip", _check_ip),
    ("LIBPROCESS_PORT", "port", _parse_port),
    ("LIBPROCESS_ADVERTISE_IP", "advertise_ip", lambda n, t: _check_ip(n, t, unspecified=False)),
    ("LIBPROCESS_ADVERTISE_PORT", "advertise_port", _parse_port),
    ("LIBPROCESS_REQUIRE_PEER_ADDRESS_IP_MATCH", "require_peer_address_ip_match", parse_bool),
)
