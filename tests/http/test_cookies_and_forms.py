"""Cookies that are set and read, forms of curl and of raw bytes, and what is refused."""

from __future__ import annotations

import http.client
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from compactor import Context, Form, Process, Request, Response, Upload, route
from compactor.errors import LocalProtocolError, MissingPackage, RemoteProtocolError
from compactor.http.forms import form_of
from tests.actors import TIMEOUT
from tests.http.curl import curl

MULTIPART = 'multipart/form-data; boundary="b"'


def part(name: str, body: bytes, more: str = "") -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + body + b"\r\n"


class Site(Process):
    @route("/login")
    def login(self, request: Request) -> Response:
        response = Response("welcome")
        response.set_cookie("user", "ann", max_age=60, httponly=True, secure=True)
        response.set_cookie("theme", "dark", samesite=None, path="/site", domain="localhost")
        return response

    @route("/me")
    def me(self, request: Request) -> Any:
        return request.cookies

    @route("/form", methods=["POST"])
    def form(self, request: Request) -> Any:
        form = request.form()
        return {
            name: [v if isinstance(v, str) else [*v[:2], v.body.decode()] for v in values]
            for name, values in ((name, form.get_list(name)) for name in form)
        }


def test_each_cookie_has_a_line(context: Context) -> None:
    pid = context.spawn(Site("site"))
    connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)
    connection.request("GET", f"/{pid.id}/login")
    lines = connection.getresponse().headers.get_all("Set-Cookie")
    connection.close()
    assert lines == [
        "user=ann; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax",
        "theme=dark; Path=/site; Domain=localhost",
    ]


def test_curl_keeps_cookies_and_sends_them(context: Context, tmp_path: Path) -> None:
    class Plain(Site):
        @route("/login")
        def login(self, request: Request) -> Response:
            response = Response("welcome")
            response.set_cookie("user", "ann")
            response.set_cookie("theme", "dark", max_age=100)
            return response

    pid = context.spawn(Plain("site"))
    jar = str(tmp_path / "jar")
    curl("-c", jar, pid.as_url("login"))
    assert curl("-b", jar, pid.as_url("me")) in (
        '{"user": "ann", "theme": "dark"}',
        '{"theme": "dark", "user": "ann"}',
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a=1; b=2", {"a": "1", "b": "2"}),
        ('a="x y"; b=2=3;c', {"a": "x y", "b": "2=3"}),
        ("a=1; a=2", {"a": "1"}),
        ("", {}),
        (";;=;", {"": ""}),
    ],
)
def test_cookies_are_read_as_they_were_sent(line: str, expected: dict[str, str]) -> None:
    assert Request("GET", "/", headers=[(b"cookie", line.encode())]).cookies == expected


def test_an_end_is_a_time_in_its_zone() -> None:
    response = Response()
    zone = timezone(timedelta(hours=1))
    response.set_cookie("a", "", max_age=0, expires=datetime(1994, 11, 6, 9, 49, 37, tzinfo=zone))
    assert response.headers["Set-Cookie"] == (
        "a=; Max-Age=0; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Path=/; SameSite=Lax"
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"name": "a b", "value": "1"}, "cannot be the name"),
        ({"name": "", "value": "1"}, "cannot be the name"),
        ({"name": "a", "value": "1\r\nSet-Cookie: b=2"}, "encode it"),
        ({"name": "a", "value": "1; Domain=x"}, "encode it"),
        ({"name": "a", "value": "é"}, "encode it"),
        ({"name": "a", "value": "1", "path": "/; Secure"}, "Path"),
        ({"name": "a", "value": "1", "path": "/\r\nX: y"}, "Path"),
        ({"name": "a", "value": "1", "domain": "x\n"}, "Domain"),
        ({"name": "a", "value": "1", "samesite": "lax"}, "samesite must be one of"),
        ({"name": "a", "value": "1", "samesite": "None"}, "needs secure"),
        ({"name": "a", "value": "1", "max_age": 1.5}, "whole seconds"),
        ({"name": "a", "value": "1", "expires": datetime(2030, 1, 1)}, "with its zone"),
    ],
)
def test_what_cannot_stand_in_a_cookie_is_refused(given: dict[str, Any], why: str) -> None:
    response = Response()
    with pytest.raises(LocalProtocolError, match=why):
        response.set_cookie(**given)
    assert not response.headers


@pytest.mark.parametrize(
    ("name", "value"),
    [("X", "a\r\nSet-Cookie: b=1"), ("X\r\nY", "1"), ("X", "a\nb"), ("X", "a\0b"), ("X:", "1")],
)
def test_no_header_can_bring_another(name: str, value: str) -> None:
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        Response(headers=[(name, value)])
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        Response().headers.add(name, value)
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        Request("GET", "/").add_header(name, value)


def test_curl_sends_fields(context: Context) -> None:
    url = context.spawn(Site("site")).as_url("form")
    sent = curl("--data-urlencode", "a=x y&", "-d", "b=1", "-d", "b=%C3%A9+", url)
    assert sent == '{"a": ["x y&"], "b": ["1", "\\u00e9 "]}'


def test_curl_sends_files(context: Context, tmp_path: Path) -> None:
    pytest.importorskip("multipart")
    file = tmp_path / "notes.txt"
    file.write_text("line 1\nline 2")
    url = context.spawn(Site("site")).as_url("form")
    sent = curl("-F", "title=é", "-F", f"file=@{file};type=text/x-notes", url)
    assert sent == (
        '{"title": ["\\u00e9"], "file": [["notes.txt", "text/x-notes", "line 1\\nline 2"]]}'
    )


def test_what_is_no_form_is_the_fault_of_the_client(context: Context) -> None:
    pid = context.spawn(Site("site"))
    connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)
    connection.request("POST", f"/{pid.id}/form", "{}", {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    assert response.status == 415
    assert text.startswith("a form is application/x-www-form-urlencoded or multipart/form-data")


def test_a_form_tells_its_fields_by_name() -> None:
    form = form_of("application/x-www-form-urlencoded", b"a=1&b=&a=2&c&d=%zz")
    assert isinstance(form, Form)
    assert dict(form) == {"a": "2", "b": "", "c": "", "d": "%zz"}
    assert form.get_list("a") == ["1", "2"]
    assert form.get_list("x") == []


@pytest.mark.parametrize(
    ("kind", "body", "status", "why"),
    [
        ("application/x-www-form-urlencoded", b"&" * 1000, 400, "more than 1000"),
        ("application/x-www-form-urlencoded", b"a" * (8 * 2**20 + 1), 413, "exceeds"),
        ("multipart/form-data", b"", 400, "no boundary"),
        ("multipart/form-data; boundary=" + "b" * 1000, b"", 400, "exceeds 1000"),
        (MULTIPART, b"", 400, "no form in parts"),
        (MULTIPART, b"garbage", 400, "no form in parts"),
        (MULTIPART, part("a", b"1"), 400, "no form in parts"),
        (MULTIPART, b"--b\r\n\r\n1\r\n--b--", 400, "no form in parts"),
        (MULTIPART, part("a", b"") * 1001 + b"--b--", 413, "too much in it"),
        (MULTIPART, b"--b\r\nX: " + b"x" * 10_000 + b"\r\n\r\n--b--", 413, "too much in it"),
    ],
)
def test_malformed_and_too_large_forms_are_refused(
    kind: str, body: bytes, status: int, why: str
) -> None:
    pytest.importorskip("multipart")
    with pytest.raises(RemoteProtocolError, match=why) as raised:
        form_of(kind, body)
    assert raised.value.status == status


def test_parts_are_fields_and_files() -> None:
    pytest.importorskip("multipart")
    file = part("f", b"\0\r\n--", '; filename="../x"')
    form = form_of(MULTIPART, part("a", b"1") + file + part("a", b"2") + b"--b--\r\n")
    assert form.get_list("a") == ["1", "2"]
    upload = form["f"]
    assert isinstance(upload, Upload)
    assert upload.body == b"\0\r\n--"


def test_a_form_takes_time_by_its_length() -> None:
    pytest.importorskip("multipart")

    def seconds(size: int, filler: bytes) -> float:
        body = part("a", filler * size) + b"--b--"
        began = time.process_time()
        form_of(MULTIPART, body)
        return time.process_time() - began

    for filler in (b"\r\n--", b"\r", b"x"):
        small = min(seconds(100_000, filler) for _ in range(3))
        assert min(seconds(1_600_000, filler) for _ in range(3)) < 80 * max(small, 1e-3)


def test_what_reads_parts_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "multipart", None)
    with pytest.raises(MissingPackage, match=r"pip install 'compactor\[forms\]'"):
        form_of(MULTIPART, b"")
    assert form_of("application/x-www-form-urlencoded", b"a=1")["a"] == "1"


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("application/json", True),
        ("text/html;q=0.5, Application/JSON", True),
        ("*/*", False),
        ("text/html, application/json;q=0.9, */*;q=0.8", False),
        ("application/json;q=0", False),
        ("application/json;q=nan", False),
        ("application/json, " + "x/y," * 1000, False),
        ("", False),
    ],
)
@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/site/nothing", 404, "404 Not Found."),
        ("GET", "/nobody", 404, "404 Not Found."),
        ("GET", "/site/form", 405, "405 Method Not Allowed."),
        ("POST", "/site/form", 415, "a form is application/x-www-form-urlencoded or multi"),
        ("GET", "/site/fails", 500, "500 Internal Server Error."),
        ("GET", "/site/teapot", 418, "short and stout"),
    ],
)
def test_errors_are_text_or_json(
    context: Context, accept: str, is_json: bool, method: str, path: str, status: int, message: str
) -> None:
    class More(Site):
        @route("/fails")
        def fails(self, request: Request) -> None:
            raise LookupError("secret")

        @route("/teapot")
        async def teapot(self, request: Request) -> Response:
            return Response.error(418, "short and stout")

    context.spawn(More("site"))
    connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)
    connection.request(method, path, headers={"Accept": accept} if accept else {})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    assert response.status == status
    if is_json:
        assert response.getheader("Content-Type") == "application/json"
        assert body.startswith(f'{{"status": {status}, "error": "')
        assert f'"message": "{message}' in body
    else:
        assert body.startswith(message)
        assert response.getheader("Content-Type") == "text/plain; charset=utf-8"
    assert "secret" not in body
    assert (response.getheader("Allow") is not None) == (status == 405)
