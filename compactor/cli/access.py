"""``Access``: how commands reach contexts: TLS, credentials, times; and the options for it."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from compactor.cli import credentials
from compactor.cli.credentials import Credential
from compactor.cli.exits import Exit, Fault
from compactor.cli.targets import Target
from compactor.errors import SettingsError
from compactor.tls.failures import describe
from compactor.tls.settings import CIPHERS, PREFIX, TlsSettings

Command = TypeVar("Command", bound=Callable[..., Any])

_FILE = click.Path(exists=True, dir_okay=False)


@dataclass(frozen=True)
class Access:
    """What the options, and behind them the environment, say.

    Attributes:
        tls: whether contexts speak TLS whose address does not say it.
        ca, cert, key: PEM files: the CA of contexts, and who we are.
        insecure: whether anybody's certificate is taken.
        realm: the only realm that credentials are for; None for any.
        file: where credentials are.
        timeout: seconds for an answer, the connection and all.
    """

    tls: bool | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    insecure: bool = False
    realm: str | None = None
    file: str | None = None
    timeout: float = 5.0

    def speaks_tls(self, target: Target) -> bool:
        """Whether a context is spoken to in TLS."""
        if target.tls is not None:
            return target.tls
        if self.tls is not None:
            return self.tls
        return self.ca is not None or self.environment is not None

    @functools.cached_property
    def environment(self) -> TlsSettings | None:
        """What the variables of the environment say of TLS.

        Raises:
            Fault: one has a bad value.
        """
        try:
            return TlsSettings.from_environ()
        except SettingsError as error:
            raise Fault(Exit.USAGE, str(error)) from None

    @functools.cached_property
    def credentials(self) -> list[Credential]:
        """Those of the file, then those of the environment.

        Raises:
            Fault: they cannot be read or used.
        """
        found = credentials.from_file(self.file, self.realm) if self.file else []
        found += credentials.from_environ(os.environ, self.realm)
        # A realm that was asked for is the only one.
        return [one for one in found if self.realm is None or one.realm == self.realm]

    def ssl_context(self) -> ssl.SSLContext:
        """What a client of HTTP needs: whoever is not verified gets nothing from us.

        Raises:
            Fault: a file cannot be used.
        """
        known = self.environment
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_ciphers(known.ciphers if known else CIPHERS)  # Python's own lack those of C++
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        ca = self.ca or (known.ca_file if known else None)
        ca_dir = known.ca_dir if known and not self.ca else None
        own = (
            (self.cert, self.key)
            if self.cert
            else (known.cert_file, known.key_file)
            if known
            else None
        )
        try:
            if ca or ca_dir:
                context.load_verify_locations(ca, ca_dir)
            else:
                context.load_default_certs()
        except (OSError, ValueError) as error:
            raise Fault(
                Exit.USAGE, f"the CA in {ca or ca_dir!r} cannot be used: {describe(error)}"
            ) from None
        try:
            if own:
                context.load_cert_chain(*own, password="")
        except (OSError, ValueError) as error:
            raise Fault(
                Exit.USAGE,
                f"the certificate in {own and own[0]!r} cannot be used: {describe(error)}",
            ) from None
        return context

    def settings_of_own_context(self, tls: bool) -> TlsSettings | None:
        """TLS of a context of one's own, as the environment and the options say.

        Raises:
            Fault: there is no certificate, and a context needs one.
        """
        if not tls:
            return None
        given = {"CA_FILE": self.ca, "CERT_FILE": self.cert, "KEY_FILE": self.key}
        more = {f"{PREFIX}{name}": value for name, value in given.items() if value}
        if self.ca and not self.insecure:
            rules = {"VERIFY_SERVER_CERT": "true", "VERIFY_IPADD": "true"}
            more |= {f"{PREFIX}{name}": value for name, value in rules.items()}
            more[f"{PREFIX}HOSTNAME_VALIDATION_SCHEME"] = "openssl"
        if self.insecure:
            more[f"{PREFIX}VERIFY_SERVER_CERT"] = more[f"{PREFIX}REQUIRE_CLIENT_CERT"] = "false"
        environ = {**os.environ, f"{PREFIX}ENABLED": "true", **more}
        try:
            return TlsSettings.from_environ(environ)
        except SettingsError as error:
            raise Fault(
                Exit.USAGE,
                f"{error}\nThis command listens, too, so it needs a certificate for TLS: "
                "--cert and --key, or the variables; compactor certs makes one",
            ) from None


_OPTIONS = (
    click.option(
        "--tls/--no-tls",
        default=None,
        help="Whether it speaks TLS; else its address, --ca or LIBPROCESS_SSL_ENABLED say so.",
    ),
    click.option("--ca", type=_FILE, envvar="COMPACTOR_CA", help="PEM file of the CA to trust."),
    click.option("--cert", type=_FILE, envvar="COMPACTOR_CERT", help="PEM file of who we are."),
    click.option("--key", type=_FILE, envvar="COMPACTOR_KEY", help="PEM file of its private key."),
    click.option("--insecure", is_flag=True, help="Take any certificate."),
    click.option(
        "--credentials",
        type=_FILE,
        envvar="COMPACTOR_CREDENTIALS",
        help="JSON file with a principal and its secret, or a token.",
    ),
    click.option(
        "--realm", envvar="COMPACTOR_REALM", help="The only realm that credentials are for."
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True, max=86400),
        default=5.0,
        show_default=True,
        envvar="COMPACTOR_TIMEOUT",
        help="Seconds for an answer.",
    ),
)


def access_options(command: Command) -> Command:
    """Give a command the options of ``Access``, which it takes as ``access``."""

    @functools.wraps(command)
    def call(*args: Any, **kw: Any) -> Any:
        names = ("tls", "ca", "cert", "key", "insecure", "realm", "timeout")
        given = {name: kw.pop(name) for name in names}
        access = Access(file=kw.pop("credentials"), **given)
        if bool(access.cert) != bool(access.key):
            raise click.UsageError("--cert and --key are given together")
        return command(*args, access=access, **kw)

    for option in reversed(_OPTIONS):
        call = option(call)
    return call  # type: ignore[return-value]
