"""Settings: arguments, LIBPROCESS_* variables, defaults, and what is refused."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from compactor import Context, Settings
from compactor.errors import SettingsError, SocketError
from tests.ports import own_port


@pytest.mark.smoke
def test_defaults_are_those_of_libprocess() -> None:
    settings = Settings.from_environ({})

    assert (settings.ip, settings.port) == ("0.0.0.0", 0)
    assert (settings.advertise_ip, settings.advertise_port) == (None, None)
    assert settings.max_header_bytes == 80 * 1024


ENVIRONMENT = {
    "LIBPROCESS_IP": "127.0.0.1",
    "LIBPROCESS_PORT": "5050",
    "LIBPROCESS_ADVERTISE_IP": "192.0.2.7",
    "LIBPROCESS_ADVERTISE_PORT": "31000",
}


def test_environment_is_read() -> None:
    settings = Settings.from_environ(ENVIRONMENT)

    assert (settings.ip, settings.port) == ("127.0.0.1", 5050)
    assert (settings.advertise_ip, settings.advertise_port) == ("192.0.2.7", 31000)


def test_explicit_values_win_over_the_environment() -> None:
    settings = Settings.from_environ(
        ENVIRONMENT, ip="127.0.0.2", port=0, advertise_ip="192.0.2.8", advertise_port=2
    )

    assert (settings.ip, settings.port) == ("127.0.0.2", 0)
    assert (settings.advertise_ip, settings.advertise_port) == ("192.0.2.8", 2)


def test_explicit_value_spares_the_variable_its_check() -> None:
    assert Settings.from_environ({"LIBPROCESS_PORT": "nonsense"}, port=7).port == 7


def test_bounds_of_given_settings_are_kept() -> None:
    settings = Settings.from_environ(ENVIRONMENT, base=Settings(linger=0.5))

    assert (settings.port, settings.linger) == (5050, 0.5)


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("LIBPROCESS_IP", "", "must be an IP address"),
        ("LIBPROCESS_IP", "localhost", "must be an IP address"),
        ("LIBPROCESS_IP", "256.0.0.1", "must be an IP address"),
        ("LIBPROCESS_IP", "127.0.0.1:5050", "must be an IP address"),
        ("LIBPROCESS_PORT", "", "must be a whole number from 0 to 65535"),
        ("LIBPROCESS_PORT", "http", "must be a whole number from 0 to 65535"),
        ("LIBPROCESS_PORT", "-1", "must be a whole number from 0 to 65535"),
        ("LIBPROCESS_PORT", "65536", "must be a whole number from 0 to 65535"),
        ("LIBPROCESS_PORT", "50.5", "must be a whole number from 0 to 65535"),
        pytest.param(
            "LIBPROCESS_PORT", "9" * 5000, "must be a whole number from 0", id="5000 digits"
        ),
        ("LIBPROCESS_ADVERTISE_IP", "", "must be an IP address"),
        ("LIBPROCESS_ADVERTISE_IP", "here", "must be an IP address"),
        ("LIBPROCESS_ADVERTISE_IP", "0.0.0.0", "must be an address that peers can dial"),
        ("LIBPROCESS_ADVERTISE_IP", "::", "must be an address that peers can dial"),
        ("LIBPROCESS_ADVERTISE_PORT", "0", "must be a whole number from 1 to 65535"),
        ("LIBPROCESS_ADVERTISE_PORT", "x", "must be a whole number from 1 to 65535"),
        ("LIBPROCESS_ADVERTISE_PORT", "70000", "must be a whole number from 1 to 65535"),
    ],
)
def test_bad_variable_is_an_error_that_names_variable_value_and_rule(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, rule: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(Context.Error) as caught:
        Context()

    assert isinstance(caught.value, SettingsError)
    assert str(caught.value).startswith(f"{variable}={value!r}")
    assert rule in str(caught.value)


@pytest.mark.parametrize("settings", [{"linger": 1}, 5, Settings])
def test_only_settings_are_settings(settings: Any) -> None:
    with pytest.raises(TypeError, match=r"settings must be a compactor\.Settings, got "):
        Context(ip="127.0.0.1", settings=settings)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("ip", ""),
        ("ip", 5),
        ("port", -1),
        ("port", 65536),
        ("port", "http"),
        ("port", True),
        ("port", 1.0),
        ("advertise_ip", "0.0.0.0"),
        ("advertise_ip", "a.name"),
        ("advertise_ip", 5),
        ("advertise_port", 0),
        ("advertise_port", "1"),
    ],
)
def test_bad_argument_is_an_error_that_names_argument_and_value(argument: str, value: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        Context(**{"ip": "127.0.0.1", argument: value})

    assert str(caught.value).startswith(f"{argument}={value!r}")


@pytest.mark.parametrize(
    "name",
    [
        "max_header_bytes",
        "max_header_fields",
        "max_body_bytes",
        "max_parked_bytes",
        "mailbox_high_water",
        "mailbox_high_water_bytes",
        "mailbox_high_water_bytes_in_all",
        "max_mailbox_events",
        "max_pipelined",
        "connect_timeout",
        "peer_timeout",
        "linger",
    ],
)
@pytest.mark.parametrize("value", [0, -1, "1", None, True])
def test_bound_that_is_no_number_above_zero_is_refused(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings(**{name: value})


def test_time_may_be_infinite_but_not_too_large_a_whole_number() -> None:
    assert Settings(linger=math.inf).linger == math.inf
    with pytest.raises(SettingsError, match=r"linger must be a number below 2\*\*1024"):
        Settings(linger=10**400)


def test_the_time_of_asks_is_finite() -> None:
    with pytest.raises(SettingsError, match=r"^ask_timeout must be a finite number of seconds"):
        Settings(ask_timeout=math.inf)


def test_a_program_ends_whatever_time_it_gives_to_messages() -> None:
    program = (
        "from compactor import Context, Settings\n"
        "for linger in (float('inf'), 1e300):\n"
        "    Context(ip='127.0.0.1', settings=Settings(linger=linger)).start()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["connect_timeout", "linger", "max_body_bytes"])
def test_bound_that_is_nan_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings(**{name: float("nan")})


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 7  # type: ignore[misc]


def test_context_binds_what_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, make_context: Callable[..., Context]
) -> None:
    port = own_port()
    monkeypatch.setenv("LIBPROCESS_PORT", str(port))

    context = make_context(ip=None, port=None)

    assert (context.ip, context.port) == ("127.0.0.1", port)
    socket.create_connection(("127.0.0.1", port)).close()


def test_context_advertises_what_the_environment_says_and_arguments_win(
    monkeypatch: pytest.MonkeyPatch, make_context: Callable[..., Context]
) -> None:
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_IP", "192.0.2.9")
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_PORT", "1234")

    for context in (
        make_context(advertise_port=4321),
        make_context(settings=Settings(advertise_port=4321)),
    ):
        assert (context.ip, context.port) == ("192.0.2.9", 4321)


def test_get_ip_port_tells_what_would_be_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBPROCESS_IP", "127.0.0.2")
    monkeypatch.setenv("LIBPROCESS_PORT", "7")

    assert Context.get_ip_port() == ("127.0.0.2", 7)
    assert Context.get_ip_port("127.0.0.1", 8) == ("127.0.0.1", 8)


def test_bad_environment_binds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_PORT", "0")
    port = own_port()

    with pytest.raises(SettingsError):
        Context(ip="127.0.0.1", port=port)

    socket.create_server(("127.0.0.1", port)).close()


def test_port_in_use_is_an_error_that_names_it_and_what_helps(context: Context) -> None:
    with pytest.raises(SocketError, match=f"{context.port}.*LIBPROCESS_PORT"):
        Context(ip="127.0.0.1", port=context.port)


def test_address_of_no_interface_is_an_error_that_says_what_helps() -> None:
    with pytest.raises(SocketError, match=r"192\.0\.2\.1.*LIBPROCESS_IP"):
        Context(ip="192.0.2.1", port=0)


def test_unknown_host_name_to_bind_is_an_error_that_says_what_helps() -> None:
    with pytest.raises(SocketError, match=r"no\.such\.host\.invalid.*LIBPROCESS_IP"):
        Context(ip="no.such.host.invalid", port=0)


@pytest.mark.parametrize("ip", ["[2001:db8::1]", "2001:db8::1"])
def test_advertised_ipv6_address_may_stand_in_brackets(
    make_context: Callable[..., Context], ip: str
) -> None:
    assert make_context(advertise_ip=ip).ip == "2001:db8::1"
