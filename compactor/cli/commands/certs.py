"""``compactor certs``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from compactor.inbound.listen import own_addresses
from compactor.tls.dev_certificates import MissingPackage, issue, own_names
from compactor.tls.settings import PREFIX


@click.command(
    help=(
        "Make certificates to develop with.\n\n"
        "One in FOLDER, and a CA if there is none. Prints the variables that turn TLS on, "
        "for your shell to evaluate."
    )
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", default="host", show_default=True, help="What the files are called.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    help="A name or IP address, any number of times; by default those of this host.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 36500),
    default=365,
    show_default=True,
    help="How long it is valid, and a new CA.",
)
def certs(folder: Path, name: str, hosts: tuple[str, ...], days: int) -> None:
    hosts = hosts or tuple(dict.fromkeys([*own_names(), *own_addresses()]))
    try:
        issued = issue(folder.absolute(), hosts, name, days)
    except (MissingPackage, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    authority = "a new CA" if issued.is_new_authority else "the CA that is there"
    click.echo(f"{issued.certificate} is for {', '.join(hosts)}, signed by {authority}", err=True)
    for variable, value in {
        "ENABLED": "true",
        "KEY_FILE": issued.key,
        "CERT_FILE": issued.certificate,
        "CA_FILE": issued.authority,
        "REQUIRE_CERT": "true",
        "VERIFY_IPADD": "true",
    }.items():
        click.echo(f"export {PREFIX}{variable}={shlex.quote(str(value))}")
