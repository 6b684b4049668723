"""Web pages: what browsers send for them, as Chromium and Firefox do, and what of it is served."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from compactor import Context, Request, Response, Settings, route
from compactor.errors import SettingsError
from compactor.wire.browsers import Browser, BrowserRule, browser_of
from tests.actors import Receiver, dead_letters, settle, spawned, take_letter
from tests.raw import read_answer

Connect = Callable[[Context], socket.socket]
Fields = dict[str, str]

CHROMIUM = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.0.0",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-US,en;q=0.9",
}
FIREFOX = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Accept": "*/*",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate",
}
PROGRAM = {"User-Agent": "curl/8.5.0", "Accept": "*/*"}
SENDER = {"Libprocess-From": "x@127.0.0.1:1"}


class Web(Receiver):
    @route("/page")
    def page(self, request: Request) -> Response:
        return Response(request.method)


def ask(sock: socket.socket, target: str, method: str, fields: Fields) -> int:
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    sock.sendall(f"{method} {target} HTTP/1.1\r\n{lines}Content-Length: 0\r\n\r\n".encode())
    return read_answer(sock)[0]


def judged(method: str, fields: Fields, is_message: bool = False, **settings: Any) -> bool:
    """Whether a request of these fields is served."""
    given = Settings(**settings)
    rule = BrowserRule(("192.0.2.7", "box"), given.allowed_hosts, given.allowed_origins)
    browser = browser_of({n.lower().encode(): v.encode() for n, v in fields.items()})
    return browser is None or rule.refusal(browser, method, is_message) is None


def test_pages_reach_nothing_that_they_should_not(context: Context, connect: Connect) -> None:
    web = spawned(context, Web("web"))
    letters = dead_letters(context)
    sock = connect(context)
    own = {"Host": f"127.0.0.1:{context.port}"}
    other = {**own, "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    rebound = {"Host": f"evil.example:{context.port}"}

    assert ask(sock, "/web/message", "POST", {**CHROMIUM, **other, **SENDER}) == 403
    assert take_letter(letters).reason == "sender refused"
    assert ask(sock, "/web/page", "POST", {**CHROMIUM, **other}) == 403
    assert ask(sock, "/web/page", "GET", {**FIREFOX, **rebound}) == 403
    assert context.metrics.snapshot()["refused_requests"] == 3
    # And the same connection serves all else.
    assert ask(sock, "/web/page", "GET", {**CHROMIUM, **other}) == 200
    assert (
        ask(sock, "/web/page", "POST", {**FIREFOX, **own, "Origin": "http://" + own["Host"]}) == 200
    )
    assert ask(sock, "/web/page", "DELETE", {**PROGRAM, **rebound}) == 200
    assert ask(sock, "/web/message", "POST", {**PROGRAM, **rebound, **SENDER}) == 202
    settle(web)
    web.received.take()
    assert web.received.is_empty


def test_a_head_that_is_remembered_is_judged_by_each_context(
    make_context: Callable[..., Context], connect: Connect
) -> None:
    fields = {**CHROMIUM, "Host": "evil.example", "Origin": "null"}
    found = {}
    for names in ((), ("*",)):
        context = make_context(settings=Settings(allowed_hosts=names, allowed_origins=names))
        spawned(context, Web("web"))
        found[names] = [ask(connect(context), "/web/page", "POST", fields) for _ in range(2)]
        sock = connect(context)
        found[names] += [ask(sock, "/web/message", "POST", {**fields, **SENDER})]
    assert found == {(): [403, 403, 403], ("*",): [200, 200, 202]}


@pytest.mark.parametrize("marks", [
    {"Origin": "http://127.0.0.1:5050"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": ""},
])  # fmt: skip
def test_a_message_with_a_mark_of_a_page_is_refused(marks: Fields) -> None:
    assert not judged("POST", {"Host": "127.0.0.1:5050", **PROGRAM, **marks}, is_message=True)


def test_a_message_without_one_is_not() -> None:
    assert judged("POST", {"Host": "any.example", **CHROMIUM}, is_message=True)


@pytest.mark.parametrize(("marks", "is_served"), [
    ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:5050"}, True),
    ({"Sec-Fetch-Site": "none"}, True),
    ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:3000"}, False),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "null"}, False),
    # A proxy may have changed the host, and a browser knows best.
    ({"Sec-Fetch-Site": "same-origin", "Origin": "https://ui.example"}, True),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:5050"}, False),
    # Without TLS and off loopback there is only an origin.
    ({"Origin": "http://127.0.0.1:5050"}, True),
    ({"Origin": "HTTP://127.0.0.1:5050"}, True),
    ({"Origin": "http://127.0.0.1"}, False),
    ({"Origin": "http://127.0.0.1:5051"}, False),
    ({"Origin": "null"}, False),
    ({"Origin": ""}, False),
    ({}, True),
])  # fmt: skip
def test_unsafe_methods_are_for_pages_of_the_same_origin(marks: Fields, is_served: bool) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "PROPFIND"):
        assert judged(method, {"Host": "127.0.0.1:5050", **CHROMIUM, **marks}) is is_served
    for method in ("GET", "HEAD", "OPTIONS", "TRACE"):
        assert judged(method, {"Host": "127.0.0.1:5050", **CHROMIUM, **marks})


@pytest.mark.parametrize(("host", "is_served"), [
    ("127.0.0.1", True),
    ("127.0.0.1:5050", True),
    ("[::1]:5050", True),
    ("[::1]", True),
    ("198.51.100.9:80", True),
    ("localhost:5050", True),
    ("LOCALHOST", True),
    ("localhost.", True),
    ("app.localhost:5050", True),
    ("box:5050", True),
    ("Box", True),
    ("", True),
    ("evil.example", False),
    ("evil.example:5050", False),
    ("box.evil.example", False),
    ("127.0.0.1.evil.example", False),
    ("localhost.evil.example", False),
    ("notlocalhost", False),
    ("[evil.example]", False),
])  # fmt: skip
def test_a_browser_names_a_host_that_no_page_can_choose(host: str, is_served: bool) -> None:
    assert judged("GET", {"Host": host, **FIREFOX}) is is_served
    assert judged("GET", {"Host": host, "Accept-Language": ""}) is is_served
    assert judged("GET", {"Host": host, **PROGRAM})


def test_settings_let_in_who_is_meant_to_be() -> None:
    page = {**CHROMIUM, "Host": "ui.example:81", "Origin": "https://ui.example"}
    hosts, origins = ("Ui.Example",), ["https://ui.example"]

    assert not judged("POST", page, allowed_hosts=hosts)
    assert not judged("POST", page, allowed_origins=origins)
    assert judged("POST", page, allowed_hosts=hosts, allowed_origins=origins)
    assert judged("POST", page, is_message=True, allowed_hosts=hosts, allowed_origins=origins)
    assert not judged("POST", {**page, "Origin": "https://ui.example:8"}, allowed_hosts=hosts)
    assert judged("POST", page, allowed_hosts={"*"}, allowed_origins=("*",))


@pytest.mark.parametrize("name", ["allowed_hosts", "allowed_origins"])
@pytest.mark.parametrize("value", [
    "ui.example", None, 5, ("",), (b"ui.example",), ("a b",), ("ui.example/path",), (":80",),
])  # fmt: skip
def test_settings_that_name_no_host_or_origin_are_refused(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"{name}.*must be"):
        Settings(**{name: value})


def test_an_answer_repeats_little_of_what_was_sent() -> None:
    rule = BrowserRule((), (), ())
    for browser in (Browser("h" * 70_000, None, None), Browser("", "o" * 70_000, "s" * 70_000)):
        assert len(rule.refusal(browser, "POST", False) or "") < 400
