"""What a context would find here: compiled code, settings, descriptors, its own certificate."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

from compactor.cli.doctor import certificates
from compactor.cli.doctor.finding import Finding, note, ok, problem
from compactor.cli.source_tree import without_extensions
from compactor.errors import SettingsError
from compactor.runtime.speedups import speedups
from compactor.settings import _VARIABLES, Setting, Settings
from compactor.system import clock
from compactor.tls.credentials import Tls
from compactor.tls.settings import PREFIX, TlsSettings

_FEW = 1024  # descriptors, as many systems give by default
_LONG_AGO = 1735689600  # 2025: no clock of a machine that runs this can say less


def check_speed() -> Iterator[Finding]:
    """Whether compiled code is in use."""
    in_use = speedups()
    if in_use.backend == "python":
        chosen = "COMPACTOR_NO_SPEEDUPS" in os.environ
        why = "COMPACTOR_NO_SPEEDUPS asks for it: unset it" if chosen else without_extensions()
        yield note("speed", f"pure Python is in use, which is slower ({in_use})", why)
    elif in_use.loop == "asyncio":
        yield note("speed", f"uvloop is not in use ({in_use})", "pip install uvloop")
    else:
        yield ok("speed", f"compiled ({in_use})")


def check_settings() -> Iterator[Finding]:
    """Which variables say something else than the defaults."""
    try:
        settings = Settings.from_environ()
    except SettingsError as error:
        yield problem("settings", str(error), "contexts cannot be made with it: correct it")
        return
    told = [one for one in sources(settings) if one.source]
    shown = [f"{one.name}={one.value!r} from {one.source}" for one in told]
    of_tls = sorted(name for name in os.environ if name.startswith((PREFIX, "SSL_")))
    shown += [f"{name}={os.environ[name]}" for name in of_tls if _is_ours(name)]
    yield ok("settings", "; ".join(shown) or "no variable of the environment sets any")


def _is_ours(variable: str) -> bool:
    """Whether a variable is read; OpenSSL has ``SSL_CERT_FILE`` for something else."""
    is_on = any(f"{prefix}ENABLED" in os.environ for prefix in (PREFIX, "SSL_"))
    if variable == "SSL_CERT_FILE" and not is_on:
        return False
    known = {field.name.upper() for field in dataclasses.fields(TlsSettings)} | {"ENABLED"}
    return variable.removeprefix("LIBPROCESS_").removeprefix("SSL_") in known


class Sourced(Setting):
    """A setting, and the variable that it is from; an empty one for a default."""

    @property
    def source(self) -> str:
        """The variable."""
        for variable, name, _ in _VARIABLES:
            if name == self.name and variable in os.environ:
                return variable
        return ""


def sources(settings: Settings) -> list[Sourced]:
    """All settings, and where they come from."""
    return [Sourced(*one) for one in settings.describe()]


def settings_as_json() -> list[dict[str, Any]]:
    """All settings with the variable that each is from; none if they cannot be used."""
    try:
        found = sources(Settings.from_environ())
    except SettingsError:
        return []
    return [
        {"name": one.name, "value": one.value, "source": one.source or "default"} for one in found
    ]


def check_clock() -> Iterator[Finding]:
    """Whether the clock can be right."""
    if clock.date() < _LONG_AGO:
        yield problem("clock", "it shows a day before 2025", "set it, and have NTP keep it")


def check_descriptors() -> Iterator[Finding]:
    """How many connections fit."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = Settings.max_connections + Settings.spare_descriptors
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield ok("descriptors", "any number" if soft == resource.RLIM_INFINITY else f"{soft:,}")
        return
    most = max(soft - Settings.spare_descriptors, 0)
    text = f"{soft:,} of them, so {most:,} connections at most, not max_connections={wanted:,}"
    change = f"ulimit -n {min(wanted, hard) if hard >= 0 else wanted}, if more are to connect"
    if most < 16:
        yield problem("descriptors", text, change)
    elif soft <= _FEW:
        yield note("descriptors", text, change)
    else:
        yield ok("descriptors", f"{soft:,}, for {most:,} connections")


def check_own_tls(advertised: str) -> Iterator[Finding]:
    """The certificate that contexts here show."""
    try:
        settings = TlsSettings.from_environ()
        if settings is None:
            yield ok("tls", f"off; {PREFIX}ENABLED=true turns it on")
            return
        Tls(settings)
    except SettingsError as error:
        yield problem("tls", str(error), "contexts cannot be made with it: correct it")
        return
    verifies = "peers are verified" if settings.verify_server_cert else "peers are not verified"
    yield ok("tls", f"on, with {settings.cert_file}; {verifies}")
    try:
        chain = certificates.read(settings.cert_file)
    except ValueError as error:
        yield note("certificate", str(error))
        return
    yield from certificates.check(chain, advertised, "certificate", _renew(settings))


def _renew(settings: Any) -> str:
    return f"make another one in {settings.cert_file}, for instance with compactor certs"
