"""Certificates to develop and test with: a CA of one's own, and what it signs for hosts."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compactor.errors import MissingPackage as MissingPackage

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa

KEY_BITS = 2048  # RSA, for the default ciphers of C++ peers know no other kind
_MISSING = (
    "certificates are made with the package cryptography; "
    "install it with: pip install 'compactor[tls]'"
)
_LONGEST_COMMON_NAME = 64
_SKEW = datetime.timedelta(hours=1)  # clocks of hosts may differ


@dataclass(frozen=True)
class Certified:
    """A private key and its certificate.

    Attributes:
        key: the private key.
        certificate: what its issuer says of it.
        issuers: the certificates between this one and the CA, the CA's not among them.
    """

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate
    issuers: tuple[x509.Certificate, ...] = ()

    def write(self, certificate: Path, key: Path) -> None:
        """Write PEM files; only the owner may read the key."""
        from cryptography.hazmat.primitives import serialization

        chain = (self.certificate, *self.issuers)
        pem = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)
        _write(certificate, pem, 0o644)
        _write(
            key,
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            0o600,
        )


def make_authority(
    name: str, days: float = 365, issuer: Certified | None = None, between: int | None = None
) -> Certified:
    """Make a CA.

    Args:
        name: its common name.
        days: how long its certificate is valid.
        issuer: the CA that signs it; None for one that signs itself.
        between: CAs that may stand between it and a host, at most; None for any number.

    Raises:
        MissingPackage: cryptography is not installed.
    """
    return _make(name, [], days, issuer, is_authority=True, between=between)


def make_certificate(
    issuer: Certified, hosts: Iterable[str], days: float = 365, name: str | None = None
) -> Certified:
    """Make the certificate of a host, for both ends of connections.

    Args:
        issuer: the CA that signs it.
        hosts: the host names and IP addresses that it is for.
        days: how long it is valid; negative: since when it is not any more.
        name: its common name; by default the first of ``hosts`` that is not too long for one.

    Raises:
        MissingPackage: cryptography is not installed.
        ValueError: a host is neither a name nor an address.
    """
    hosts = list(hosts)
    names = [name] if name else [host for host in hosts if len(host) <= _LONGEST_COMMON_NAME]
    return _make([*names, "host"][0], hosts, days, issuer, is_authority=False)


@dataclass(frozen=True)
class Issued:
    """The files of a host.

    Attributes:
        authority: PEM file of the CA's certificate.
        certificate: PEM file of the host's.
        key: PEM file of its private key.
        is_new_authority: whether the CA was made just now.
    """

    authority: Path
    certificate: Path
    key: Path
    is_new_authority: bool


def issue(folder: Path, hosts: Iterable[str], name: str, days: float) -> Issued:
    """Make a certificate for a host, and the CA too if the folder has none.

    Args:
        folder: where the files are, and come to be; made if it is missing.
        hosts: the host names and IP addresses that the certificate is for.
        name: what its files are called.
        days: how long it is valid.

    Raises:
        MissingPackage: cryptography is not installed.
        ValueError: a host or the name cannot be used, or the folder has half a CA or an old one.
        OSError: a file cannot be read or written.
    """
    if name == "ca" or not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"{name!r} cannot be the name of files; take letters, digits, . and -")
    authority, key = folder / "ca.pem", folder / "ca.key"
    made = None if authority.exists() or key.exists() else make_authority("compactor CA", days)
    issuer = made or _read(authority, key)
    end = issuer.certificate.not_valid_after_utc
    if end < datetime.datetime.now(datetime.timezone.utc):
        raise ValueError(f"the CA in {authority} is valid until {end:%Y-%m-%d} only; make another")
    host = make_certificate(issuer, hosts, days)
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if made is not None:
        made.write(authority, key)
    found = Issued(authority, folder / f"{name}.pem", folder / f"{name}.key", made is not None)
    host.write(found.certificate, found.key)
    return found


def _read(certificate: Path, key: Path) -> Certified:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
    except ModuleNotFoundError as error:
        raise MissingPackage(_MISSING) from error
    for path in (certificate, key):
        if not path.exists():
            raise ValueError(f"{path} is missing beside the other half of the CA")
    try:
        found = serialization.load_pem_private_key(key.read_bytes(), None)
    except (TypeError, ValueError):
        raise ValueError(f"{key} must be a private key, as PEM, without password") from None
    try:
        made = x509.load_pem_x509_certificate(certificate.read_bytes())
    except ValueError:
        raise ValueError(f"{certificate} must be a certificate, as PEM") from None
    if not isinstance(found, rsa.RSAPrivateKey) or made.public_key() != found.public_key():
        raise ValueError(f"{key} must be the private key, for RSA, of {certificate}")
    return Certified(found, made)


def own_names() -> list[str]:
    """The names and addresses by which this host knows itself."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn()]
    with contextlib.suppress(OSError):  # DNS may not know the name
        names += [str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)]
    return list(dict.fromkeys(name.partition("%")[0] for name in names if name))


def _make(
    name: str,
    hosts: Iterable[str],
    days: float,
    issuer: Certified | None,
    is_authority: bool,
    between: int | None = None,
) -> Certified:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.x509.oid import NameOID
    except ModuleNotFoundError as error:
        raise MissingPackage(_MISSING) from error
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    end = now + datetime.timedelta(days=days)
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - _SKEW)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(is_authority, between), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    for extension, is_critical in _purposes(is_authority, hosts):
        builder = builder.add_extension(extension, is_critical)
    certificate = builder.sign(signer, hashes.SHA256())
    is_signed_by_root = issuer is None or issuer.certificate.issuer == issuer.certificate.subject
    between_root = () if issuer is None or is_signed_by_root else (issuer.certificate,)
    return Certified(key, certificate, between_root + (issuer.issuers if issuer else ()))


def _purposes(
    is_authority: bool, hosts: Iterable[str]
) -> Iterator[tuple[x509.ExtensionType, bool]]:
    """What a certificate is for, as its extensions, and whether each must be understood."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not is_authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
    yield usage, True
    if not is_authority:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        yield x509.ExtendedKeyUsage(usages), False
    names = [_general_name(host) for host in hosts]
    if names:
        yield x509.SubjectAlternativeName(names), False


def _general_name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    with contextlib.suppress(UnicodeError):
        name = host.encode("idna").decode("ascii")
        if re.fullmatch(r"(\*\.)?[\w-]+(\.[\w-]+)*\.?", name):
            return x509.DNSName(name)
    raise ValueError(f"{host!r} is neither a host name nor an IP address")


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file that has its mode before it has its content."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.chmod(path, mode)  # whatever the umask is
        file.write(data)
