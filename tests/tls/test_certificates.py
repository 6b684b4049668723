"""``compactor certs``: a CA and certificates, their modes, and variables that turn TLS on."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from compactor import Context, TlsSettings
from compactor.tls.dev_certificates import issue, make_authority
from compactor.tls.settings import SCHEMES
from tests.actors import Receiver

pytest.importorskip("cryptography", reason="certificates are made with cryptography")


def run(*args: object, before: str = "") -> subprocess.CompletedProcess[str]:
    program = f"{before}\nfrom compactor.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, "certs", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def subject_names(path: Path) -> set[str]:
    found = ssl._ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]
    return {name for _, name in found["subjectAltName"]}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_printed_variables_turn_tls_on(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a folder"
    done = run(folder)
    assert done.returncode == 0, done.stderr
    assert "signed by a new CA" in done.stderr
    shown = subprocess.run(
        ["sh", "-c", f"{done.stdout}\nenv"], capture_output=True, text=True, check=True
    ).stdout
    for line in shown.splitlines():
        name, _, value = line.partition("=")
        if name.startswith("LIBPROCESS_SSL_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("LIBPROCESS_SSL_HOSTNAME_VALIDATION_SCHEME", scheme)
    monkeypatch.delenv("LIBPROCESS_IP", raising=False)  # pids carry the address that leads out
    assert TlsSettings.from_environ() is not None
    here, there = Receiver("here"), Receiver("there")
    contexts = Context(), Context()
    try:
        contexts[0].spawn(here)
        contexts[1].spawn(there)
        here.send(there.pid, "message", b"hello")
        assert there.received.take() == (here.pid, b"hello")
    finally:
        for context in contexts:
            context.stop()


def test_keys_are_for_the_owner_only(tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("Windows has no such modes")
    before = os.umask(0)
    try:
        issue(tmp_path, ["localhost"], "host", 1)
        issue(tmp_path, ["localhost"], "host", 1)  # files that exist get their modes, too
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"ca.pem": 0o644, "ca.key": 0o600, "host.pem": 0o644, "host.key": 0o600}


def test_second_host_is_signed_by_the_same_authority(tmp_path: Path) -> None:
    run(tmp_path)
    before = (tmp_path / "ca.pem").read_bytes()
    done = run(tmp_path, "--name", "agent-1", "--host", "agent-1.example", "--host", "192.0.2.7")
    assert "is for agent-1.example, 192.0.2.7, signed by the CA that is there" in done.stderr
    assert (tmp_path / "ca.pem").read_bytes() == before
    assert subject_names(tmp_path / "agent-1.pem") == {"agent-1.example", "192.0.2.7"}
    assert {"localhost", "127.0.0.1"} <= subject_names(tmp_path / "host.pem")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--name", "ca"], "'ca' cannot be the name of files"),
        (["--name", "../x"], "'../x' cannot be the name of files"),
        (["--host", "a..b"], "'a..b' is neither a host name nor an IP address"),
        (["--host", "a b"], "'a b' is neither a host name nor an IP address"),
    ],
)
def test_what_cannot_be_made_is_an_error(tmp_path: Path, args: list[str], words: str) -> None:
    done = run(tmp_path / "new", *args)
    assert done.returncode == 1
    assert words in done.stderr
    assert not (tmp_path / "new").exists()


def test_an_authority_that_is_out_of_date_signs_nothing(tmp_path: Path) -> None:
    make_authority("old", days=-1).write(tmp_path / "ca.pem", tmp_path / "ca.key")
    done = run(tmp_path)
    assert done.returncode == 1
    assert re.search(r"the CA in .*ca.pem is valid until \d{4}-\d\d-\d\d only", done.stderr)
    assert not (tmp_path / "host.pem").exists()


def test_half_an_authority_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "ca.key").write_text("precious")
    done = run(tmp_path)
    assert done.returncode == 1
    assert "ca.pem is missing beside the other half of the CA" in done.stderr
    assert (tmp_path / "ca.key").read_text() == "precious"


@pytest.mark.parametrize(
    ("made_by", "words"),
    [
        (["openssl", "genrsa"], "ca.key must be the private key, for RSA, of"),
        (
            ["openssl", "genpkey", "-algorithm", "ed25519"],
            "ca.key must be the private key, for RSA",
        ),
        (["openssl", "genrsa", "-aes256", "-passout", "pass:x"], "ca.key must be a private key"),
        (["echo", "junk"], "ca.key must be a private key, as PEM, without password"),
    ],
)
def test_key_that_is_not_that_of_the_authority_is_an_error(
    tmp_path: Path, made_by: list[str], words: str
) -> None:
    if shutil.which(made_by[0]) is None:
        pytest.skip(f"there is no {made_by[0]} here")
    issue(tmp_path, ["localhost"], "host", 1)
    made = subprocess.run(made_by, capture_output=True, check=True).stdout
    (tmp_path / "ca.key").write_bytes(made)
    before = (tmp_path / "host.pem").read_bytes()
    done = run(tmp_path)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "host.pem").read_bytes() == before


def test_host_may_be_longer_than_a_common_name(tmp_path: Path) -> None:
    host = f"{'a.' * 40}example"
    issue(tmp_path, [host], "host", 1)
    assert subject_names(tmp_path / "host.pem") == {host}


def test_missing_cryptography_is_one_clear_line(tmp_path: Path) -> None:
    done = run(tmp_path, before="import sys; sys.modules['cryptography'] = None")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Error: certificates are made with the package cryptography; "
        "install it with: pip install 'compactor[tls]'"
    ]
