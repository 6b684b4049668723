"""Every setting of a context: name, default, check, and the reason for each bound.

Nothing else in the package reads ``LIBPROCESS_*`` variables.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from compactor.errors import SettingsError

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """What a context is told about its address and its bounds.

    Sizes are bytes, times are seconds.
    """

    ip: str = "0.0.0.0"
    """Address to bind; C++ libprocess's default."""
    port: int = 0
    """Port to bind, 0 for an ephemeral one."""
    advertise_ip: str | None = None
    """Address that pids carry, where it differs from the bound one (NAT, containers)."""
    advertise_port: int | None = None
    """Port that pids carry, where it differs from the bound one."""

    max_header_bytes: int = 80 * 1024
    """Request line to blank line; the limit of http-parser and so of C++ libprocess."""
    max_body_bytes: int = 100 * _MIB
    """One body, inflated or not; compactor 0.3.0 refused more than this as well."""
    max_parked_bytes: int = 64 * _MIB
    """Frames waiting for one destination; more become dead letters."""
    mailbox_high_water: int = 10_000
    """Events in one mailbox beyond which the sockets that feed it are not read."""
    mailbox_high_water_bytes: int = 8 * _MIB
    """Large bodies (over 4 KiB) in one mailbox beyond which those sockets are not read."""
    max_mailbox_events: int = 1_000_000
    """Events in one mailbox beyond which local sends become dead letters."""
    max_pipelined: int = 1_000
    """Unanswered requests of one connection beyond which it is not read."""
    connect_timeout: float = 10.0
    """Time for name lookup and connect; C++ leaves it to the kernel, about two minutes."""
    peer_timeout: float = 60.0
    """Silence of a peer's machine after which it has vanished, infinity for the kernel's own
    patience.  A minute: longer than a switch takes to restart, shorter than the 75 seconds after
    which a Mesos master gives up an agent; C++ never notices on a silent connection."""
    linger: float = 1.0
    """Time that ``stop()`` gives parked messages and started answers to leave."""

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
        for field in fields(self):
            if field.name.startswith(("max_", "mailbox_", "connect_", "peer_", "linger")):
                value = getattr(self, field.name)
                if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                    raise SettingsError(f"{field.name}={value!r} must be a number above 0")

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
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for name, field, parse in _VARIABLES:
            if name in environ and given.get(field) is None:
                value = parse(name, environ[name])
                if base is None or getattr(base, field) == getattr(cls, field):
                    values[field] = value
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
)
