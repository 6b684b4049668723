"""``Tls``: keys, certificates and rules of a context, as OpenSSL wants them."""

from __future__ import annotations

import math
import os
import ssl
import warnings
from typing import Any, Literal

from compactor.errors import SettingsError
from compactor.metrics.logs import logger
from compactor.metrics.throttled_log import ThrottledLog
from compactor.tls.failures import describe
from compactor.tls.settings import PREFIX, TlsSettings
from compactor.tls.verify import Verifier

log = logger("tls")

_MAX_LOGGED = 1024  # failures of handshakes that are remembered
_FORGET_INTERVAL = 60.0  # seconds until new ones are logged when there are more


class Tls:
    """What connections of one context need for TLS.

    Args:
        settings: keys, certificates and rules.

    Attributes:
        accepting, dialling: the OpenSSL contexts of new connections.
        verifier: what is asked of peers.

    Raises:
        SettingsError: a file or a value cannot be used; the text names it.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self.settings = settings
        self.accepting = _ssl_context(settings, ssl.PROTOCOL_TLS_SERVER)
        self.dialling = _ssl_context(settings, ssl.PROTOCOL_TLS_CLIENT)
        self.verifier = Verifier(settings)
        self._failures = ThrottledLog(math.inf, _MAX_LOGGED, _FORGET_INTERVAL)
        if settings.support_downgrade and settings.verify_server_cert:
            log.warning(
                "certificates are verified, but support_downgrade lets peers do without TLS"
            )

    def reload(self) -> None:
        """Read all files anew, for the connections from now on.

        Raises:
            SettingsError: one of them cannot be used; what was read before stays in use.
        """
        accepting = _ssl_context(self.settings, ssl.PROTOCOL_TLS_SERVER)
        self.dialling = _ssl_context(self.settings, ssl.PROTOCOL_TLS_CLIENT)
        self.accepting = accepting

    def failed(self, peer: str, what: str, error: BaseException) -> None:
        """Log why there is no TLS with a peer, once until there has been."""
        why = describe(error)
        if self._failures.due(peer, (what, why)) is not None:
            log.warning("%s: %s", what, why)

    def succeeded(self, peer: str) -> None:
        """Log the next failure of this peer, whatever it is."""
        self._failures.forget(peer)


def load_tls(given: TlsSettings | Literal[False] | None) -> Tls | None:
    """What a context is to use: what it is given, or else what the environment says.

    Raises:
        SettingsError: a value or a file cannot be used; the text names it.
        TypeError: no settings were given, but something else.
    """
    if given is None:
        given = TlsSettings.from_environ()
    if given is None or given is False:
        return None
    if not isinstance(given, TlsSettings):
        raise TypeError(f"tls must be TlsSettings(key_file=..., cert_file=...), got {given!r}")
    return Tls(given)


_VERSIONS = {
    "v1_0": ssl.TLSVersion.TLSv1,
    "v1_1": ssl.TLSVersion.TLSv1_1,
    "v1_2": ssl.TLSVersion.TLSv1_2,
    "v1_3": ssl.TLSVersion.TLSv1_3,
}


def _ssl_context(settings: TlsSettings, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 1.0 and 1.1: asked for by name
        context.minimum_version = _VERSIONS[settings.versions[0]]
        context.maximum_version = _VERSIONS[settings.versions[-1]]
    ciphers = settings.ciphers
    _try("CIPHERS", ciphers, "what OpenSSL knows", lambda: context.set_ciphers(ciphers))
    if settings.ecdh_curves != "auto":
        curve = settings.ecdh_curves
        _try("ECDH_CURVES", curve, "auto, or one curve", lambda: context.set_ecdh_curve(curve))
    _check_readable("KEY_FILE", settings.key_file)
    _check_readable("CERT_FILE", settings.cert_file)
    _load_key(context, settings)
    is_server = protocol == ssl.PROTOCOL_TLS_SERVER
    if is_server and ssl.HAS_TLSv1_3:
        context.num_tickets = 1  # tells who dials that its certificate is accepted
    if settings.require_client_cert if is_server else settings.verify_server_cert:
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = not is_server and settings.hostname_validation_scheme == "openssl"
    if context.verify_mode is not ssl.CERT_NONE or settings.ca_file or settings.ca_dir:
        _load_authorities(context, settings, is_server)
    return context


def _load_key(context: ssl.SSLContext, settings: TlsSettings) -> None:
    try:
        context.load_cert_chain(settings.cert_file, settings.key_file, password=_no_password)
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            problem = "must be the private key of the certificate in"
        else:
            problem = "must be a PEM file without password, as must"
        raise SettingsError(
            f"{PREFIX}KEY_FILE={settings.key_file!r} {problem} "
            f"{PREFIX}CERT_FILE={settings.cert_file!r} ({describe(error)})"
        ) from None


def _no_password() -> str:
    return ""  # without this, OpenSSL would ask for one on the terminal


def _load_authorities(context: ssl.SSLContext, settings: TlsSettings, is_server: bool) -> None:
    if settings.ca_file is None and settings.ca_dir is None:
        purpose = ssl.Purpose.CLIENT_AUTH if is_server else ssl.Purpose.SERVER_AUTH
        context.load_default_certs(purpose)
        return
    if settings.ca_file is not None:
        path = settings.ca_file
        _check_readable("CA_FILE", path)
        _try("CA_FILE", path, "a PEM file", lambda: context.load_verify_locations(cafile=path))
    if settings.ca_dir is not None:
        if not os.path.isdir(settings.ca_dir):
            raise SettingsError(f"{PREFIX}CA_DIR={settings.ca_dir!r} must be a folder")
        context.load_verify_locations(capath=settings.ca_dir)


def _check_readable(name: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as error:  # ValueError: no path can look like that
        raise SettingsError(
            f"{PREFIX}{name}={path!r} must be a file that can be read "
            f"({getattr(error, 'strerror', error)})"
        ) from None


def _try(name: str, value: str, rule: str, call: Any) -> None:
    try:
        call()
    except (ssl.SSLError, ValueError) as error:
        raise SettingsError(f"{PREFIX}{name}={value!r} must be {rule} ({error})") from None
