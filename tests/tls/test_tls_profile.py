"""What TLS a context speaks by default, and in Mozilla's intermediate profile."""

from __future__ import annotations

import importlib.util
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compactor import Context
from tests.actors import TIMEOUT
from tests.tls_fixture import Certificates

MakeTls = Callable[..., Context]

OF_CPP = (  # and TLS 1.2 alone, without any curve
    "AES128-SHA:AES256-SHA:RC4-SHA:DHE-RSA-AES128-SHA:DHE-DSS-AES128-SHA:DHE-RSA-AES256-SHA:"
    "DHE-DSS-AES256-SHA"
)


@pytest.fixture
def make_tls(certificates: Certificates) -> Iterator[MakeTls]:
    """What makes started contexts with TLS: what they speak is up to OpenSSL, not to loops."""
    made: list[Context] = []

    def make(**settings: Any) -> Context:
        made.append(Context(tls=certificates.settings(**settings)))
        made[-1].start()
        return made[-1]

    yield make
    for context in made:
        context.stop()
        context.join(TIMEOUT)


def spoken(context: Context, **rules: Any) -> tuple[str | None, str]:
    """The version and the cipher that a client gets."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    if "ciphers" in rules:
        tls.set_ciphers(rules["ciphers"])
    tls.maximum_version = rules.get("maximum_version", ssl.TLSVersion.MAXIMUM_SUPPORTED)
    address = (context.ip, context.port)
    with tls.wrap_socket(socket.create_connection(address, timeout=TIMEOUT)) as sock:
        cipher = sock.cipher()
        assert cipher is not None
        return sock.version(), cipher[0]


def test_every_client_gets_the_best_that_it_has(make_tls: MakeTls) -> None:
    context = make_tls()
    if ssl.HAS_TLSv1_3:
        assert spoken(context)[0] == "TLSv1.3"
    v1_2 = ssl.TLSVersion.TLSv1_2
    both = f"{OF_CPP}:ECDHE-RSA-AES128-GCM-SHA256"
    assert spoken(context, maximum_version=v1_2, ciphers=both) == (
        "TLSv1.2",
        "ECDHE-RSA-AES128-GCM-SHA256",
    )
    assert spoken(context, maximum_version=v1_2, ciphers=OF_CPP) == ("TLSv1.2", "AES128-SHA")


def test_tls_1_3_that_is_switched_off_is_not_spoken(make_tls: MakeTls) -> None:
    context = make_tls(enable_tls_v1_3=False)
    assert spoken(context)[0] == "TLSv1.2"


def test_intermediate_profile_offers_nothing_that_is_weaker(make_tls: MakeTls) -> None:
    context = make_tls(profile="intermediate")
    with pytest.raises(ssl.SSLError):
        spoken(context, maximum_version=ssl.TLSVersion.TLSv1_2, ciphers=OF_CPP)


@pytest.mark.skipif(importlib.util.find_spec("sslyze") is None, reason="sslyze is not installed")
def test_intermediate_profile_is_the_one_of_mozilla(
    make_tls: MakeTls, certificates: Certificates
) -> None:
    context = make_tls(profile="intermediate")
    ours = ["--certinfo_ca_file", str(certificates.path("ca"))]
    checking = [sys.executable, "-m", "sslyze", "--mozilla_config=intermediate", *ours]
    done = subprocess.run(
        [*checking, f"127.0.0.1:{context.port}"], capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, "OK - Compliant" in done.stdout) == (0, True), done.stdout[-2000:]
