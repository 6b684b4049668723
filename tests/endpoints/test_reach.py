"""``/compactor/reach``: whether a client can be reached from a context."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from compactor import Context
from compactor.endpoints import reach
from tests.endpoints.asking import fetch
from tests.ports import own_port

MakeContext = Callable[..., Context]


def test_who_listens_is_reached(make_context: MakeContext, listener: socket.socket) -> None:
    context = make_context()

    told = fetch(context, f"/compactor/reach?port={listener.getsockname()[1]}").json

    assert told == {
        "advertised": f"127.0.0.1:{context.port}",
        "client": "127.0.0.1",
        "outcome": "connected",
    }
    connection, _ = listener.accept()
    with connection:
        assert connection.recv(1) == b""  # nothing is said


def test_who_does_not_is_told_so(
    make_context: MakeContext,
    deaf_ports: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reach, "_SECONDS", 0.05)
    context = make_context()

    def outcome(port: int) -> object:
        return fetch(context, f"/compactor/reach?port={port}").json["outcome"]

    assert outcome(own_port()) == "refused"
    assert outcome(deaf_ports()) == "timeout"


def test_nobody_else_is_looked_at(make_context: MakeContext, listener: socket.socket) -> None:
    context, port = make_context(), listener.getsockname()[1]
    listener.settimeout(0.05)

    passed_on = fetch(context, f"/compactor/reach?port={port}", X_Forwarded_For="192.0.2.7").json
    assert passed_on["outcome"] == "proxy"
    assert "outcome" not in fetch(context, "/compactor/reach").json
    for bad in ("0", "65536", "x", "-1", "", "9" * 1000, "%D9%A3"):
        assert fetch(context, f"/compactor/reach?port={bad}").status == 400
    with pytest.raises(TimeoutError):
        listener.accept()
