"""``compactor certs``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from compactor.cli.output import json_option, print_json
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
@json_option
def certs(folder: Path, name: str, hosts: tuple[str, ...], days: int, as_json: bool) -> None:
    hosts = hosts or tuple(dict.fromkeys([*own_names(), *own_addresses()]))
    try:
        issued = issue(folder.absolute(), hosts, name, days)
    except (MissingPackage, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    authority = "a new CA" if issued.is_new_authority else "the CA that is there"
    click.echo(f"{issued.certificate} is for {', '.join(hosts)}, signed by {authority}", err=True)
    variables = {
        f"{PREFIX}ENABLED": "true",
        f"{PREFIX}KEY_FILE": str(issued.key),
        f"{PREFIX}CERT_FILE": str(issued.certificate),
        f"{PREFIX}CA_FILE": str(issued.authority),
        f"{PREFIX}REQUIRE_CERT": "true",
        f"{PREFIX}VERIFY_IPADD": "true",
    }
    if as_json:
        print_json(variables)
        return
    for variable, value in variables.items():
        click.echo(f"export {variable}={shlex.quote(value)}")
