"""Settings of TLS: libprocess's variables and their old names, and what is refused."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import pytest

from compactor import Context, TlsSettings
from compactor.errors import SettingsError
from tests.tls_fixture import Certificates

FILES = {"LIBPROCESS_SSL_KEY_FILE": "a.key", "LIBPROCESS_SSL_CERT_FILE": "a.pem"}
ON = {"LIBPROCESS_SSL_ENABLED": "true", **FILES}


def read(**variables: str) -> TlsSettings:
    named = {f"LIBPROCESS_SSL_{name}": value for name, value in variables.items()}
    settings = TlsSettings.from_environ({**ON, **named})
    assert settings is not None
    return settings


@pytest.mark.parametrize("value", [None, "false", "0"])
def test_without_enabled_there_is_no_tls(value: str | None) -> None:
    environ = FILES if value is None else {**FILES, "LIBPROCESS_SSL_ENABLED": value}
    assert TlsSettings.from_environ(environ) is None


def test_defaults_are_those_of_libprocess_but_for_tls_1_3_and_strong_ciphers() -> None:
    settings = read()
    assert (settings.key_file, settings.cert_file) == ("a.key", "a.pem")
    assert not settings.verify_server_cert
    assert not settings.require_client_cert
    assert not settings.support_downgrade
    assert not settings.verify_ipadd
    assert settings.verification_depth == 4
    assert settings.hostname_validation_scheme == "legacy"
    assert settings.versions == ["v1_2", "v1_3"]
    assert settings.ciphers.endswith(":AES128-SHA:AES256-SHA")  # strong ones come first


def test_tls_1_3_is_switched_off_if_the_variable_says_so() -> None:
    assert read(ENABLE_TLS_V1_3="false").versions == ["v1_2"]


def test_versions_that_cpp_takes_leave_no_gap_to_tls_1_3() -> None:
    assert read(ENABLE_TLS_V1_1="true", ENABLE_TLS_V1_2="false").versions == ["v1_1"]


def test_every_variable_is_read() -> None:
    values: dict[str, Any] = {
        "ca_file": "ca.pem",
        "ca_dir": "cas",
        "verify_server_cert": True,
        "require_client_cert": True,
        "verify_ipadd": True,
        "verification_depth": 2,
        "ciphers": "AES128-SHA",
        "ecdh_curves": "prime256v1",
        "hostname_validation_scheme": "openssl",
        "enable_ssl_v3": False,
        "enable_tls_v1_0": True,
        "enable_tls_v1_1": True,
        "enable_tls_v1_2": True,
        "enable_tls_v1_3": True,
        "support_downgrade": True,
    }
    fields = {field.name for field in dataclasses.fields(TlsSettings)}
    own = {"key_file", "cert_file", "profile", "verify_sender", "handshake_timeout"}
    assert set(values) == fields - own
    text = {n: str(v).lower() if isinstance(v, bool) else str(v) for n, v in values.items()}
    settings = read(**{name.upper(): value for name, value in text.items()})
    assert {name: getattr(settings, name) for name in values} == values


@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ("VERIFY_CERT", "verify_server_cert"),
        ("VERIFY_SERVER_CERT", "verify_server_cert"),
        ("REQUIRE_CERT", "require_client_cert"),
        ("REQUIRE_CLIENT_CERT", "require_client_cert"),
    ],
)
def test_old_names_and_new_ones_are_read(variable: str, field: str) -> None:
    assert getattr(read(**{variable: "1"}), field)


def test_new_name_wins_over_the_old_one() -> None:
    assert not read(VERIFY_CERT="true", VERIFY_SERVER_CERT="false").verify_server_cert


def test_required_client_certificates_imply_verified_servers() -> None:
    assert read(REQUIRE_CLIENT_CERT="true").verify_server_cert


def test_bare_prefix_is_read_too(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"SSL_ENABLED": "1", "SSL_KEY_FILE": "b.key", "SSL_CERT_FILE": "b.pem"}
    settings = TlsSettings.from_environ(environ)
    assert settings == TlsSettings(key_file="b.key", cert_file="b.pem")
    assert not caplog.records
    assert TlsSettings.from_environ({**environ, **ON}) == read()
    assert "LIBPROCESS_SSL_KEY_FILE='a.key' is used, not SSL_KEY_FILE='b.key'" in caplog.text
    assert "SSL_CERT_FILE" not in caplog.text  # which means the CAs to OpenSSL itself


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("VERIFY_DEPTH", "VERIFICATION_DEPTH"), ("ECDH_CURVE", "ECDH_CURVES")],
)
def test_names_that_libprocess_ignores_are_pointed_out(
    caplog: pytest.LogCaptureFixture, wrong: str, right: str
) -> None:
    assert read(**{wrong: "2"}) == read()
    assert f"LIBPROCESS_SSL_{wrong} is not read" in caplog.text
    assert f"use LIBPROCESS_SSL_{right}" in caplog.text


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("ENABLED", "yes", "must be true, 1, false or 0"),
        ("VERIFY_CERT", "", "must be true, 1, false or 0"),
        ("SUPPORT_DOWNGRADE", "True", "must be true, 1, false or 0"),
        ("VERIFICATION_DEPTH", "deep", "must be a whole number"),
        ("VERIFICATION_DEPTH", "-1", "must be a whole number"),
        ("HOSTNAME_VALIDATION_SCHEME", "modern", "must be legacy or openssl"),
        ("KEY_FILE", "", "must be a path"),
        ("CIPHERS", "", "must not be empty"),
        ("ENABLE_SSL_V3", "true", "must be false"),
    ],
)
def test_bad_value_is_an_error_that_names_variable_and_rule(
    name: str, value: str, rule: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read(**{name: value})
    shown = True if name == "ENABLE_SSL_V3" else value
    assert str(caught.value).startswith(f"LIBPROCESS_SSL_{name}={shown!r}")
    assert rule in str(caught.value)


@pytest.mark.parametrize("missing", ["KEY_FILE", "CERT_FILE"])
def test_enabled_needs_both_files(missing: str) -> None:
    environ = {name: value for name, value in ON.items() if not name.endswith(missing)}
    with pytest.raises(SettingsError, match=f"needs LIBPROCESS_SSL_{missing}"):
        TlsSettings.from_environ(environ)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"verify_sender": True}, "needs require_client_cert=True"),
        ({"enable_tls_v1_2": False, "enable_tls_v1_3": False}, "must not be the last version"),
        ({"enable_tls_v1_0": True}, "must be without a gap"),
        ({"profile": "modern"}, "profile='modern' must be default or intermediate"),
        ({"profile": "intermediate", "enable_tls_v1_1": True}, "enable_tls_v1_1=True is not part"),
        ({"profile": "intermediate", "ciphers": "AES128-SHA"}, "ciphers='AES128-SHA' cannot"),
        ({"profile": "intermediate", "ecdh_curves": "secp521r1"}, "ecdh_curves='secp521r1' is not"),
        ({"verification_depth": True}, "must be a whole number"),
        ({"verify_ipadd": 1}, "must be True or False"),
        ({"handshake_timeout": 0}, "must be a number above 0"),
        ({"key_file": ""}, "must be a path"),
    ],
)
def test_bad_argument_is_an_error(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        TlsSettings(**{"key_file": "a.key", "cert_file": "a.pem", **values})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"key_file": "none"}, "LIBPROCESS_SSL_KEY_FILE='none' must be a file that can be read"),
        ({"key_file": "a\0b"}, "must be a file that can be read"),
        ({"ca_file": "none"}, "LIBPROCESS_SSL_CA_FILE='none' must be a file"),
        ({"cert_file": "none"}, "LIBPROCESS_SSL_CERT_FILE='none' must be a file"),
        ({"key_file": "{renewed.key}"}, "must be the private key of the certificate"),
        ({"cert_file": "{host.key}"}, "must be a PEM file"),
        ({"ca_file": "none", "verify_server_cert": True}, "LIBPROCESS_SSL_CA_FILE='none'"),
        ({"ca_file": "{host.key}", "verify_server_cert": True}, "LIBPROCESS_SSL_CA_FILE="),
        ({"ca_dir": "none", "verify_server_cert": True}, "LIBPROCESS_SSL_CA_DIR='none'"),
        ({"ciphers": "NONE-SUCH"}, "LIBPROCESS_SSL_CIPHERS='NONE-SUCH'"),
        ({"ecdh_curves": "a:b"}, "LIBPROCESS_SSL_ECDH_CURVES='a:b' must be auto, or one curve"),
    ],
)
def test_context_refuses_what_openssl_cannot_use(
    certificates: Certificates, values: dict[str, Any], words: str
) -> None:
    folder = f"{certificates.folder}{os.sep}"
    given = {
        n: v.replace("{", folder).replace("}", "") if isinstance(v, str) else v
        for n, v in values.items()
    }
    with pytest.raises(SettingsError) as caught:
        Context(ip="127.0.0.1", tls=certificates.settings(**given))
    assert words in str(caught.value)


def test_key_with_a_password_asks_nobody(certificates: Certificates, tmp_path: Any) -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = certificates.authority.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "locked.key").write_bytes(key)
    with pytest.raises(SettingsError, match="without password"):
        Context(ip="127.0.0.1", tls=certificates.settings(key_file=str(tmp_path / "locked.key")))


def test_argument_wins_over_the_environment(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ON.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=r"a\.key"):
        Context()
    for tls in (False, certificates.settings()):
        context = Context(tls=tls)
        context.stop()


def test_tls_must_be_settings() -> None:
    with pytest.raises(TypeError, match="tls must be TlsSettings"):
        Context(ip="127.0.0.1", tls="yes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tls must be TlsSettings"):
        Context(ip="127.0.0.1", tls={})  # type: ignore[arg-type]


def test_page_lists_every_variable_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tls.md").read_text("utf-8")
    rows = re.findall(r"^\| `LIBPROCESS_SSL_(\w+)` \| (?:`(\w+)` )?", page, re.MULTILINE)
    defaults = {field.name.upper(): field.default for field in dataclasses.fields(TlsSettings)}
    own = {"PROFILE", "VERIFY_SENDER", "HANDSHAKE_TIMEOUT"}
    assert {name for name, _ in rows} == set(defaults) - own | {"ENABLED"}
    for name, value in rows:
        if value and name != "ENABLED":
            assert value == str(defaults[name]).replace("False", "false").replace("True", "true")
