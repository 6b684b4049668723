"""``compactor settings``."""

from __future__ import annotations

import click

from compactor.cli.output import json_option, print_json
from compactor.errors import SettingsError
from compactor.settings import Setting, Settings
from compactor.tls.settings import PREFIX, TlsSettings


@click.command(
    help=(
        "List settings and bounds, and why they are so.\n\n"
        "Values are those that the environment gives here."
    )
)
@json_option
def settings(as_json: bool) -> None:
    try:
        plain, tls = Settings.from_environ(), TlsSettings.from_environ()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        listed = {"settings": plain.describe(), "tls": [] if tls is None else tls.describe()}
        print_json({name: [one._asdict() for one in some] for name, some in listed.items()})
        return
    _list_settings(plain.describe())
    if tls is None:
        click.echo(f"\nTLS is off: {PREFIX}ENABLED=true turns it on, and these would be used.\n")
        tls = TlsSettings(key_file="...", cert_file="...")
    else:
        click.echo(f"\nTLS is on; the variables begin with {PREFIX}.\n")
    _list_settings(tls.describe())


def _list_settings(listed: list[Setting]) -> None:
    width = max(len(setting.name) for setting in listed)
    for name, value, default, reason in listed:
        is_usual = default is None or value == default
        text = f"{value!r}" if is_usual else f"{value!r} (by default {default!r})"
        click.echo(f"{click.style(f'{name:<{width}}', bold=True)}  {text:<11}  {reason}")
