"""Certificates for tests of TLS, made once per run, and settings that use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compactor import TlsSettings
from compactor.tls.dev_certificates import Certified, make_authority, make_certificate


class Certificates:
    """A folder of PEM files: ``NAME.pem`` and ``NAME.key``.

    ``host`` is for this host, ``named`` for its name only, ``numbered`` for its address only,
    ``expired``, ``elsewhere`` for another host, and ``foreign`` of another CA.
    ``deep`` has two CAs between it and the root.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = make_authority("CA of the tests")
        other = make_authority("another CA")
        self.authority.write(folder / "ca.pem", folder / "ca.key")
        other.write(folder / "other.pem", folder / "other.key")
        here = ["localhost", "127.0.0.1", "::1"]
        first = make_authority("first between", issuer=self.authority)
        second = make_authority("second between", issuer=first)
        for name, made in {
            "host": make_certificate(self.authority, here),
            "renewed": make_certificate(self.authority, here),
            "named": make_certificate(self.authority, ["localhost"]),
            "numbered": make_certificate(self.authority, ["127.0.0.1"], name="number"),
            "expired": make_certificate(self.authority, here, days=-1),
            "elsewhere": make_certificate(self.authority, ["elsewhere.example", "192.0.2.1"]),
            "foreign": make_certificate(other, here),
            "deep": make_certificate(second, here),
        }.items():
            self.add(name, made)

    def add(self, name: str, made: Certified) -> None:
        """Write a certificate and its key."""
        made.write(self.path(name), self.folder / f"{name}.key")

    def path(self, name: str) -> Path:
        """The file of a certificate."""
        return self.folder / f"{name}.pem"

    def settings(self, name: str = "host", **more: Any) -> TlsSettings:
        """TLS with one of the certificates, and with the CA of the tests."""
        files = {
            "key_file": str(self.folder / f"{name}.key"),
            "cert_file": str(self.path(name)),
            "ca_file": str(self.path("ca")),
        }
        return TlsSettings(**{**files, **more})

    def verifying(self, name: str = "host", **more: Any) -> TlsSettings:
        """The same, with both sides to be verified, by name and address."""
        rules = {
            "require_client_cert": True,
            "verify_ipadd": True,
            "hostname_validation_scheme": "openssl",
        }
        return self.settings(name, **{**rules, **more})
