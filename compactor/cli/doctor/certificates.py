"""Certificates: what they are for, who has signed them, and how long they are valid."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compactor.cli.doctor.finding import Finding, note, ok, problem
from compactor.metrics.logs import readable
from compactor.system import clock
from compactor.system.names import ip_of

_SOON = datetime.timedelta(days=30)


@dataclass(frozen=True)
class Certificate:
    """What a certificate says.

    Attributes:
        subject, issuer: their names.
        hosts: the host names and IP addresses that it is for.
        begin, end: from when to when it is valid.
    """

    subject: str
    issuer: str
    hosts: tuple[str, ...]
    begin: datetime.datetime
    end: datetime.datetime

    def is_for(self, host: str) -> bool:
        """Whether it names a host."""
        ip = ip_of(host)
        if ip is not None:
            return str(ip) in self.hosts
        name = host.lower().rstrip(".")
        wild = "*." + name.partition(".")[2]
        return any(known.lower() in (name, wild) for known in self.hosts)


def read(path: str) -> list[Certificate]:
    """The certificates in a PEM file.

    Raises:
        ValueError: there is none, or nothing to look at it with.
    """
    try:
        text = Path(path).read_text("ascii", "replace")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    marks = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----")
    parts = [part.partition(marks[1])[0] for part in text.split(marks[0])[1:]]
    try:
        ders = [ssl.PEM_cert_to_DER_cert(f"{marks[0]}{part}{marks[1]}\n") for part in parts]
    except ValueError:
        ders = []
    if not ders:
        raise ValueError(f"{path} has no certificate in PEM")
    return [parse(der) for der in ders]


def parse(der: bytes) -> Certificate:
    """What a certificate says.

    Raises:
        ValueError: it cannot be parsed, or cryptography is not installed.
    """
    try:
        from cryptography import x509
    except ModuleNotFoundError:
        raise ValueError(
            "certificates are looked at with cryptography: pip install 'compactor[tls]'"
        ) from None
    try:
        found = x509.load_der_x509_certificate(der)
        kind = x509.SubjectAlternativeName
        names = [entry.value for entry in found.extensions if isinstance(entry.value, kind)]
        hosts = tuple(str(name.value) for some in names for name in some)
        return Certificate(
            _name(found.subject),
            _name(found.issuer),
            hosts,
            found.not_valid_before_utc,
            found.not_valid_after_utc,
        )
    except (ValueError, TypeError, x509.DuplicateExtension) as error:
        raise ValueError(f"a certificate cannot be parsed: {error}") from None


def _name(name: Any) -> str:
    """The common name of who has signed, or is meant, else all that is said."""
    from cryptography.x509.oid import NameOID

    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return readable(str(common[0].value) if common else name.rfc4514_string())


def check(chain: list[Certificate], host: str, what: str, renew: str) -> Iterator[Finding]:
    """Whether certificates are for a host, and valid today.

    Args:
        chain: the certificate of the host, and those that it was shown with.
        host: how the host is dialled.
        what: which check this is.
        renew: what makes a better one.
    """
    own = chain[0]
    path = " <- ".join(dict.fromkeys([own.subject, own.issuer, *(c.issuer for c in chain[1:])]))
    yield ok(what, f"{path}; for {', '.join(own.hosts) or 'no host'}; until {own.end:%Y-%m-%d}")
    today = datetime.datetime.fromtimestamp(clock.date(), datetime.timezone.utc)
    for one in chain:
        if one.end < today:
            text = f"the certificate of {one.subject} has expired on {one.end:%Y-%m-%d}"
            yield problem(what, text, renew)
        elif one.begin > today:
            text = f"the certificate of {one.subject} is not valid before {one.begin:%Y-%m-%d}"
            yield problem(what, text, f"look at the clock of this machine, or {renew}")
        elif one.end < today + _SOON:
            days = (one.end - today).days
            yield note(what, f"the certificate of {one.subject} expires in {days} days", renew)
    if not own.is_for(host):
        yield note(
            what,
            f"it does not name {host}, so peers that look for that name refuse it",
            f"{renew} --host {host}" if "compactor certs" in renew else renew,
        )
