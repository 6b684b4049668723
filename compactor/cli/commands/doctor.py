"""``compactor doctor``."""

from __future__ import annotations

import dataclasses
import textwrap

import click

from compactor.cli.access import Access, access_options
from compactor.cli.doctor import surroundings
from compactor.cli.doctor.finding import Finding
from compactor.cli.doctor.own_address import OwnAddress
from compactor.cli.doctor.peer import Peer, failed
from compactor.cli.output import echo, json_option, print_json
from compactor.cli.targets import Target, context
from compactor.metrics.logs import readable

_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}
_WIDTH = 13  # of the names of checks


@click.command(
    help=(
        "Find out why two contexts do not reach each other.\n\n"
        "Looks at what a context would find here: settings, address, certificates. With PEER, a "
        "context or a pid, also at the way there and back. Says what to change. Run it with the "
        "environment of the program that has the trouble."
    )
)
@click.argument("peer", type=context, required=False)
@access_options
@json_option
def doctor(peer: Target | None, access: Access, as_json: bool) -> None:
    findings: list[Finding] = []

    def add(finding: Finding) -> None:
        findings.append(finding)
        if not as_json:
            _print(finding)

    with OwnAddress().listening() as here:
        advertised = here.advertised[0] if here.advertised else ""
        for check in (
            surroundings.check_speed(),
            surroundings.check_settings(),
            surroundings.check_clock(),
            surroundings.check_descriptors(),
            surroundings.check_own_tls(advertised),
            here.check(access.timeout),
            Peer(peer, access, here).check() if peer is not None else (),
        ):
            for finding in check:
                add(finding)
    if as_json:
        print_json(
            {
                "findings": [dataclasses.asdict(one) for one in findings],
                "settings": surroundings.settings_as_json(),
            }
        )
    raise click.exceptions.Exit(failed(findings))


def _print(finding: Finding) -> None:
    state = click.style(f"{finding.state:<8}", fg=_COLOURS[finding.state], bold=True)
    echo(f"{state} {finding.check:<{_WIDTH}} {readable(finding.text)}")
    if finding.change:
        indent = " " * (9 + _WIDTH + 1)
        for line in textwrap.wrap(f"-> {readable(finding.change)}", 76):
            echo(indent + line)
