"""``TlsSettings``: what a context is told about TLS, as arguments or in libprocess's variables."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from compactor.errors import SettingsError
from compactor.metrics.logs import logger
from compactor.settings import Setting, check_seconds, described, parse_bool, setting

log = logger("tls")

PREFIX = "LIBPROCESS_SSL_"
_BARE_PREFIX = "SSL_"  # libprocess reads these too; the longer name wins

STRONG_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
)
"""Those of Mozilla's intermediate profile, version 5.7, in its order."""

LIBPROCESS_CIPHERS = "DHE-RSA-AES128-SHA:DHE-RSA-AES256-SHA:AES128-SHA:AES256-SHA"
"""What a C++ peer offers by default, strong ones first, without RC4 and DSS: OpenSSL builds no RC4
any more, and DSS needs keys that nobody issues.  Python's own default has none of them.
"""

CIPHERS = f"{STRONG_CIPHERS}:{LIBPROCESS_CIPHERS}"

PROFILES = ("default", "intermediate")
_INTERMEDIATE_CURVE = "prime256v1"  # Python can set one; every TLS 1.3 has this one
_INTERMEDIATE_CURVES = ("auto", "X25519", _INTERMEDIATE_CURVE, "secp384r1")

SCHEMES = ("legacy", "openssl")


@dataclass(frozen=True)
class TlsSettings:
    """Keys, certificates, and what is asked of peers; all sockets of the context then use TLS.

    Fields have the names of libprocess's variables ``LIBPROCESS_SSL_...``, in lower case, and
    its defaults except for ``ciphers`` and TLS 1.3.  The last three are compactor's own.
    ``describe()`` tells what each is.
    """

    key_file: str = field(metadata={"reason": "PEM file of the private key"})
    cert_file: str = field(
        metadata={
            "reason": "PEM file of the certificate, which those between it and the CA may follow"
        }
    )
    ca_file: str | None = setting(
        None, "PEM file of the CAs to trust; without it and ca_dir, those of the system"
    )
    ca_dir: str | None = setting(None, "folder of CAs to trust, as openssl rehash makes it")
    verify_server_cert: bool = setting(
        False, "whether a peer that is dialled must have a valid certificate that names it"
    )
    require_client_cert: bool = setting(
        False, "whether a peer that dials must have one; implies verify_server_cert"
    )
    verify_ipadd: bool = setting(False, "whether an IP address in a certificate may name a peer")
    verification_depth: int = setting(4, "certificates between that of a peer and the CA, at most")
    ciphers: str = setting(
        CIPHERS,
        "ciphers of TLS up to 1.2, in OpenSSL's language; by default also those of C++ peers",
    )
    ecdh_curves: str = setting("auto", "auto, or the name of one curve")
    hostname_validation_scheme: str = setting(
        "legacy", "openssl: the name that was dialled; legacy: what DNS says of a peer's address"
    )
    enable_ssl_v3: bool = setting(
        False, "never possible any more; here so that it can be refused by name"
    )
    enable_tls_v1_0: bool = setting(False, "whether TLS 1.0 may be spoken")
    enable_tls_v1_1: bool = setting(False, "whether TLS 1.1 may be spoken")
    enable_tls_v1_2: bool = setting(True, "whether TLS 1.2 may be spoken")
    enable_tls_v1_3: bool = setting(
        ssl.HAS_TLSv1_3, "whether TLS 1.3 may be spoken; C++ peers leave it off by default"
    )
    support_downgrade: bool = setting(
        False, "whether plain peers are served on the same port, and dialled when TLS fails"
    )

    profile: str = setting(
        "default", "intermediate: versions, ciphers and curves of Mozilla's profile of that name"
    )
    verify_sender: bool = setting(
        False, "whether the certificate of a peer must name the host of every sender it writes for"
    )
    handshake_timeout: float = setting(
        10.0, "seconds from connecting to the end of the handshake, a few round trips"
    )

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            check(name, getattr(self, name))
        if self.require_client_cert:
            object.__setattr__(self, "verify_server_cert", True)
        if self.profile == "intermediate":
            self._take_intermediate_profile()
        if self.verify_sender and not self.require_client_cert:
            raise SettingsError(
                "verify_sender=True needs require_client_cert=True: "
                "without certificates there is nothing to compare senders with"
            )
        if not self.versions:
            raise SettingsError(
                "enable_tls_v1_2=False must not be the last version: enable at least one of "
                "enable_tls_v1_0 to enable_tls_v1_3"
            )
        enabled = [int(version[-1]) for version in self.versions]
        if enabled != list(range(enabled[0], enabled[-1] + 1)):
            raise SettingsError(
                f"enable_tls_{', enable_tls_'.join(self.versions)} must be without a gap"
            )

    def _take_intermediate_profile(self) -> None:
        """Narrow what TLS is spoken to what Mozilla's profile of that name allows."""
        for name in ("enable_tls_v1_0", "enable_tls_v1_1"):
            if getattr(self, name):
                raise SettingsError(f"{name}=True is not part of profile='intermediate'")
        if self.ciphers not in (CIPHERS, STRONG_CIPHERS):
            raise SettingsError(
                f"ciphers={self.ciphers!r} cannot be given beside profile='intermediate', "
                "which names its own"
            )
        if self.ecdh_curves not in _INTERMEDIATE_CURVES:
            raise SettingsError(
                f"ecdh_curves={self.ecdh_curves!r} is not part of profile='intermediate': "
                f"one of {', '.join(_INTERMEDIATE_CURVES)}"
            )
        object.__setattr__(self, "ciphers", STRONG_CIPHERS)
        if self.ecdh_curves == "auto":
            object.__setattr__(self, "ecdh_curves", _INTERMEDIATE_CURVE)

    @property
    def versions(self) -> list[str]:
        """The enabled ones among ``v1_0`` to ``v1_3``."""
        known = ("v1_0", "v1_1", "v1_2", "v1_3")
        return [version for version in known if getattr(self, f"enable_tls_{version}")]

    def describe(self) -> list[Setting]:
        """Every setting with its value here, its default, and what it is."""
        return described(self)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> TlsSettings | None:
        """What the variables say; None unless ``LIBPROCESS_SSL_ENABLED`` is ``true`` or ``1``.

        Args:
            environ: the variables, by default ``os.environ``.

        Raises:
            SettingsError: a value breaks its rule; the text names variable, value and rule.
        """
        environ = os.environ if environ is None else environ
        name, text = _lookup(environ, "ENABLED")
        if text is None or not parse_bool(name, text):
            return None
        values: dict[str, Any] = {}
        for suffix, setting_name in _VARIABLES.items():
            name, text = _lookup(environ, suffix)
            if text is not None:
                parse = _PARSERS.get(type(getattr(cls, setting_name, "")), _parse_text)
                value = parse(name, text)
                _CHECKS[setting_name](name, value)
                values[setting_name] = value
        if not values.get("enable_tls_v1_2", True):  # an environment for C++, to which 1.3 is a gap
            values.setdefault("enable_tls_v1_3", False)
        for setting_name in ("key_file", "cert_file"):
            if setting_name not in values:
                variable = f"{PREFIX}{setting_name.upper()}"
                raise SettingsError(
                    f"{PREFIX}ENABLED=true needs {variable}, the path of a PEM file"
                )
        for wrong, right in (("VERIFY_DEPTH", "VERIFICATION_DEPTH"), ("ECDH_CURVE", "ECDH_CURVES")):
            name, text = _lookup(environ, wrong)
            if text is not None:
                log.warning("%s is not read, by libprocess neither: use %s%s", name, PREFIX, right)
        return cls(**values)


def _lookup(environ: Mapping[str, str], suffix: str) -> tuple[str, str | None]:
    long, bare = PREFIX + suffix, _BARE_PREFIX + suffix
    if long not in environ:
        return bare, environ.get(bare)
    # SSL_CERT_FILE is OpenSSL's own name for a file of CAs, which many systems set.
    if bare != "SSL_CERT_FILE" and environ.get(bare, environ[long]) != environ[long]:
        log.warning("%s=%r is used, not %s=%r", long, environ[long], bare, environ[bare])
    return long, environ[long]


def _parse_int(name: str, text: str) -> Any:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _parse_text(name: str, text: str) -> str:
    return text


_PARSERS: dict[type, Callable[[str, str], Any]] = {bool: parse_bool, int: _parse_int}


def _check_bool(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise SettingsError(f"{name}={value!r} must be True or False")


def _check_ssl_v3(name: str, value: Any) -> None:
    _check_bool(name, value)
    if value:
        raise SettingsError(f"{name}={value!r} must be false: no OpenSSL of today speaks SSL 3")


def _check_path(name: str, value: Any) -> None:
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise SettingsError(f"{name}={value!r} must be a path")


def _check_path_or_none(name: str, value: Any) -> None:
    if value is not None:
        _check_path(name, value)


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{name}={value!r} must not be empty")


def _check_depth(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 100:
        raise SettingsError(f"{name}={value!r} must be a whole number from 0 to 100")


def _check_scheme(name: str, value: Any) -> None:
    if value not in SCHEMES:
        raise SettingsError(f"{name}={value!r} must be legacy or openssl")


def _check_profile(name: str, value: Any) -> None:
    if value not in PROFILES:
        raise SettingsError(f"{name}={value!r} must be default or intermediate")


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    known.name: _check_bool for known in fields(TlsSettings)
} | {
    "key_file": _check_path,
    "cert_file": _check_path,
    "ca_file": _check_path_or_none,
    "ca_dir": _check_path_or_none,
    "verification_depth": _check_depth,
    "ciphers": _check_text,
    "ecdh_curves": _check_text,
    "hostname_validation_scheme": _check_scheme,
    "enable_ssl_v3": _check_ssl_v3,
    "profile": _check_profile,
    "handshake_timeout": check_seconds,
}

_OWN = ("profile", "verify_sender", "handshake_timeout")

# Old names first: where both are given, the new one is used.
_VARIABLES = {
    "VERIFY_CERT": "verify_server_cert",
    "REQUIRE_CERT": "require_client_cert",
} | {known.name.upper(): known.name for known in fields(TlsSettings) if known.name not in _OWN}
