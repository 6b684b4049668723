"""Messages over TLS, with certificates verified on both sides, beside the same without TLS."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.bodies import LOADS, ours
from benchmarks.children import Children
from benchmarks.harness import Contestant, Metric, Scenario, Values
from benchmarks.ping_pong import SETTINGS, pair_of, run_pinger, run_ponger
from compactor.tls.dev_certificates import issue
from compactor.tls.settings import PREFIX

SIZES = ("64 B", "1 MiB")
PLAIN = "without TLS"


@functools.cache
def certificates() -> tempfile.TemporaryDirectory[str]:
    """A folder with certificates, which goes when the program ends."""
    folder = tempfile.TemporaryDirectory(prefix="compactor-certificates-")
    issue(Path(folder.name), ["localhost", "127.0.0.1"], "host", 1)
    return folder


def environ() -> Mapping[str, str]:
    """The variables of TLS as a careful user sets them."""
    folder = Path(certificates().name)
    values = {
        "ENABLED": "true",
        "ENABLE_TLS_V1_3": "false",  # the rows are of TLS 1.2, from before 1.3 was the default
        "KEY_FILE": folder / "host.key",
        "CERT_FILE": folder / "host.pem",
        "CA_FILE": folder / "ca.pem",
        "REQUIRE_CERT": "true",
        "VERIFY_IPADD": "true",
        "HOSTNAME_VALIDATION_SCHEME": "openssl",
    }
    return {f"{PREFIX}{name}": str(value) for name, value in values.items()}


def play(children: Children, seconds: float, more: Mapping[str, str] | None = None) -> Values:
    values: Values = {}
    for size in SIZES:
        with children.fresh(more) as alone:
            values[size] = ours(alone, LOADS[size], seconds)
    with children.fresh(more) as alone:
        trips = pair_of(run_ponger, run_pinger)(alone, seconds, SETTINGS["apart"][1])
    values["p50"] = trips["p50"]
    return values


def play_tls(children: Children, seconds: float) -> Values:
    return play(children, seconds, environ())


SCENARIO = Scenario(
    "tls",
    {
        **{size: Metric(f"one-way over TLS, {size}", "msg/s") for size in SIZES},
        "p50": Metric("ping-pong over TLS, p50", "us", higher_is_better=False),
    },
    play_tls,
    {PLAIN: Contestant(play)},
)
