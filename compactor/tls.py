"""``Tls``: the certificates of a context as OpenSSL has them, and what is asked of peers."""

from __future__ import annotations

import ipaddress
import logging
import os
import ssl
import time
import warnings
from typing import Any, Literal

from compactor.errors import SettingsError
from compactor.names import name_of
from compactor.tls_settings import PREFIX, TlsSettings

log = logging.getLogger("compactor")

_MAX_LOGGED = 1024  # peers of which it is remembered how their handshakes failed
_FORGET_SECONDS = 60.0  # until new peers are logged when there are more


class TlsError(ConnectionError):
    """A handshake failed, or the peer is not who it must be; the text says why."""


class Tls:
    """What connections of one context need for TLS.

    Args:
        settings: keys, certificates and rules.

    Attributes:
        accepting, dialling: the OpenSSL contexts of new connections.

    Raises:
        SettingsError: a file or a value cannot be used; the text names it.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self.settings = settings
        self.accepting = _ssl_context(settings, ssl.PROTOCOL_TLS_SERVER)
        self.dialling = _ssl_context(settings, ssl.PROTOCOL_TLS_CLIENT)
        self._logged: dict[str, set[str]] = {}
        self._forgotten = -_FORGET_SECONDS  # when all that was logged was forgotten
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

    # Peers

    def name_to_verify(self, host: str) -> str | None:
        """What OpenSSL is to look for in the certificate of a dialled peer.

        Raises:
            TlsError: by the rules nothing in a certificate can name that host.
        """
        settings = self.settings
        if not settings.verify_server_cert or settings.hostname_validation_scheme == "legacy":
            return None
        if _ip(host) is not None and not settings.verify_ipadd:
            raise TlsError(
                f"the peer is known as {host} only, and certificates are searched for host names: "
                f"set verify_ipadd ({PREFIX}VERIFY_IPADD) to have them searched for addresses"
            )
        return host

    def needs_check(self, server_side: bool) -> bool:
        """Whether ``check`` must be awaited before anything is read from a peer."""
        settings = self.settings
        return settings.require_client_cert if server_side else settings.verify_server_cert

    async def check(self, connection: ssl.SSLObject, peer_ip: str) -> None:
        """Ask of a peer, whose certificate OpenSSL has found valid, what OpenSSL does not.

        Raises:
            TlsError: the peer is refused.
        """
        settings = self.settings
        _check_depth(connection, settings.verification_depth)
        if settings.hostname_validation_scheme == "legacy":
            await self._check_name(connection, peer_ip)

    async def _check_name(self, connection: ssl.SSLObject, peer_ip: str) -> None:
        settings = self.settings
        ip = _ip(peer_ip)
        if isinstance(ip, ipaddress.IPv4Address):
            peer_ip = str(ip)
        name = await name_of(peer_ip)
        if name is None and not settings.verify_ipadd:
            if settings.require_client_cert:
                raise TlsError(f"no name is known for {peer_ip}, so its certificate says nothing")
            return
        certificate = connection.getpeercert() or {}
        names, addresses = names_in(certificate)
        if settings.verify_ipadd and ip in addresses:
            return
        subject: Any = certificate.get("subject", ())
        names += [value for part in subject for key, value in part if key == "commonName"]
        if name is None or name.lower() not in [found.lower() for found in names]:
            raise TlsError(
                f"the certificate is for {', '.join(map(str, names + addresses)) or 'nobody'}, "
                f"and the peer is {f'{name} ({peer_ip})' if name else peer_ip}"
            )

    # The log

    def failed(self, peer: str, what: str, error: BaseException) -> None:
        """Log why there is no TLS with a peer, once until there has been."""
        line = f"{what}: {describe(error)}"
        if peer not in self._logged and len(self._logged) >= _MAX_LOGGED:
            if time.monotonic() - self._forgotten < _FORGET_SECONDS:
                return  # so many peers at a time: the counter has them all
            self._forgotten = time.monotonic()
            self._logged.clear()
        lines = self._logged.setdefault(peer, set())
        if line not in lines:
            lines.add(line)
            log.warning("%s", line)

    def succeeded(self, peer: str) -> None:
        """Log the next failure of this peer, whatever it is."""
        self._logged.pop(peer, None)


def load_tls(given: TlsSettings | Literal[False] | None) -> Tls | None:
    """What a context is to use: as it is given, or else as the environment says.

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


def names_in(certificate: Any) -> tuple[list[str], list[Any]]:
    """The host names and the IP addresses that a certificate, as a dict, is for."""
    names, addresses = [], []
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "DNS":
            names.append(value)
        elif kind == "IP Address":
            addresses.append(_ip(value.strip()))
    return names, addresses


def is_for(certificate: Any, host: str) -> bool:
    """Whether a certificate, as a dict, names a host: an IP address, or a name in full."""
    names, addresses = names_in(certificate)
    ip = _ip(host)
    return ip in addresses if ip is not None else host.lower() in [n.lower() for n in names]


def describe(error: BaseException) -> str:
    """An error of TLS in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the peer is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return _IN_WORDS.get(error.reason) or error.reason.lower().replace("_", " ")
    return str(error) or type(error).__name__


_IN_WORDS = {
    "HTTP_REQUEST": "the peer does not speak TLS, but plain HTTP",
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS",
    "UNKNOWN_PROTOCOL": "the peer does not speak TLS",
    "NO_SHARED_CIPHER": "no cipher is enabled on both sides",
    "UNSUPPORTED_PROTOCOL": "no version of TLS is enabled on both sides",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer shows no certificate, and one is required",
}


_VERSIONS = {
    "v1_0": ssl.TLSVersion.TLSv1,
    "v1_1": ssl.TLSVersion.TLSv1_1,
    "v1_2": ssl.TLSVersion.TLSv1_2,
    "v1_3": ssl.TLSVersion.TLSv1_3,
}


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IP address; that of IPv4 if it is one in the clothes of IPv6."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def _check_depth(connection: ssl.SSLObject, depth: int) -> None:
    # Python 3.13 made it public; before, it is there under the same name, one object further.
    holder = connection if hasattr(connection, "get_verified_chain") else connection._sslobj  # type: ignore[attr-defined]
    between = len(holder.get_verified_chain() or ()) - 2  # without the peer's own, and the CA
    if between > depth:
        raise TlsError(
            f"{between} certificates stand between that of the peer and its CA; "
            f"verification_depth allows {depth}"
        )


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
