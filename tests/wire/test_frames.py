"""Message frames and responses, byte for byte."""

from __future__ import annotations

import pytest

from compactor.pid import PID
from compactor.runtime.hot_path import Backend
from compactor.wire.encoder import check_name, message_path
from compactor.wire.encoder import message_prefix as prefix

CLIENT = PID("192.0.2.7", 5050, "client(1)")
SERVER = PID("192.0.2.8", 5051, "server(1)")


def test_a_frame_is_that_of_libprocess_after_mesos_1_11(backend: Backend) -> None:
    assert backend.encode_message(prefix(CLIENT, SERVER, "ping"), b"hello, hello, hello") == (
        b"POST /server(1)/ping HTTP/1.1\r\n"
        b"User-Agent: libprocess/client(1)@192.0.2.7:5050\r\n"
        b"Libprocess-From: client(1)@192.0.2.7:5050\r\n"
        b"Connection: Keep-Alive\r\n"
        b"Host: 192.0.2.8:5051\r\n"
        b"Transfer-Encoding: chunked\r\n"
        b"\r\n"
        b"13\r\nhello, hello, hello\r\n0\r\n\r\n"
    )


def test_a_frame_without_body_ends_with_its_headers(backend: Backend) -> None:
    frame = backend.encode_message(prefix(CLIENT, SERVER, "ping"), b"")
    assert frame.endswith(b"Host: 192.0.2.8:5051\r\n\r\n")
    assert b"Transfer-Encoding" not in frame
    assert b"Content-Length" not in frame


def test_ipv6_addresses_stand_in_brackets(backend: Backend) -> None:
    frame = backend.encode_message(prefix(PID("::1", 1, "a"), PID("::2", 2, "b"), "n"), b"")
    assert b"Libprocess-From: a@[::1]:1\r\n" in frame
    assert b"Host: [::2]:2\r\n" in frame


@pytest.mark.parametrize(
    ("id_", "path"),
    [
        ("slave(1)", "/slave(1)/n"),
        ("a/b", "/a%2Fb/n"),
        ("a+b%", "/a%2Bb%25/n"),
        ("a?b#c", "/a%3Fb%23c/n"),
        ("café", "/caf%C3%A9/n"),
        ("()@:!$&'*,;=~-._", "/()@:!$&'*,;=~-._/n"),
        ("", "/n"),
    ],
)
def test_only_what_would_be_misread_is_escaped_in_an_id(id_: str, path: str) -> None:
    assert message_path(id_, "n") == path


def test_names_may_hold_slashes_and_percent_signs() -> None:
    assert check_name("a/b%2F+c") == "a/b%2F+c"


def test_a_response_carries_date_and_length(backend: Backend) -> None:
    assert backend.encode_response(b"HTTP/1.1 200 OK", b"now", [b"A: b"], b"hi") == (
        b"HTTP/1.1 200 OK\r\nDate: now\r\nA: b\r\nContent-Length: 2\r\n\r\nhi"
    )


@pytest.mark.parametrize("size", [0, 1, 9, 10, 511, 512, 1234567])
def test_a_body_stands_behind_its_length(backend: Backend, size: int) -> None:
    body = b"x" * size
    assert backend.encode_body(b"Content-Length: ", body) == (
        b"Content-Length: %d\r\n\r\n%b" % (size, body)
    )
