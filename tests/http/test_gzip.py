"""Answers in gzip: for whom, which, and what they say."""

from __future__ import annotations

import gzip
import http.client
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from compactor import Context, Process, Request, Response, route
from compactor.wire.preferences import takes_gzip
from tests.actors import TIMEOUT
from tests.http.curl import curl

TEXT = "compactor " * 1000
LARGE = TEXT * 100


class Site(Process):
    @route("/text")
    def text(self, request: Request) -> str:
        return TEXT

    @route("/large")
    async def large(self, request: Request) -> str:
        return LARGE

    @route("/json")
    def json(self, request: Request) -> Any:
        return [TEXT]

    @route("/short")
    def short(self, request: Request) -> str:
        return "s" * 1023

    @route("/bytes")
    def bytes_(self, request: Request) -> bytes:
        return TEXT.encode()

    @route("/random")
    def random(self, request: Request) -> Response:
        return Response(random.Random(1).randbytes(2000), content_type="text/x-random")

    @route("/svg")
    def svg(self, request: Request) -> Response:
        headers = [("ETag", '"1"'), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Vary", "X")]
        return Response(TEXT.encode(), 404, "image/svg+xml", headers)

    @route("/identity")
    def identity(self, request: Request) -> Response:
        return Response(TEXT, headers={"Content-Encoding": "identity"})

    @route("/stream")
    async def stream(self, request: Request) -> AsyncIterator[str]:
        yield TEXT

    @route("/written")
    def written(self, handler: Any) -> None:
        handler.write(TEXT)


def ask(context: Context, path: str, coding: str | None = "gzip", method: str = "GET") -> Any:
    connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)
    connection.putrequest(method, f"/site/{path}", skip_accept_encoding=True)
    if coding is not None:
        connection.putheader("Accept-Encoding", coding)
    connection.endheaders()
    with connection.getresponse() as answer:
        found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


@pytest.fixture
def site(context: Context) -> Context:
    context.spawn(Site("site"))
    return context


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("text", TEXT),
        ("large", LARGE),
        ("json", f'["{TEXT}"]'),
        ("svg", TEXT),
        ("written", TEXT),
    ],
)
@pytest.mark.each_combination
def test_what_is_worth_it_is_compressed(site: Context, path: str, plain: str) -> None:
    status, headers, body = ask(site, path)
    assert status == (404 if path == "svg" else 200)
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Length"] == str(len(body))
    assert headers.get_all("Vary")[-1] == "Accept-Encoding"
    assert len(body) < len(plain) / 10
    assert gzip.decompress(body).decode() == plain
    if path == "svg":
        assert headers["ETag"] == 'W/"1"'
        assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert headers.get_all("Vary") == ["X", "Accept-Encoding"]
    _, head, nothing = ask(site, path, method="HEAD")
    assert (head["Content-Length"], nothing) == (str(len(body)), b"")
    status, headers, body = ask(site, path, None)
    assert headers["Content-Encoding"] is None
    assert body.decode() == plain


@pytest.mark.parametrize("path", ["short", "bytes", "random", "identity", "stream"])
def test_what_is_not_worth_it_is_sent_as_it_is(site: Context, path: str) -> None:
    _, headers, body = ask(site, path)
    assert headers["Content-Encoding"] in (None, "identity")
    assert body == ask(site, path, None)[2]
    assert len(body) > 1000


@pytest.mark.parametrize(
    ("coding", "is_taken"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("x-gzip", True),
        ("*", True),
        ("br, *;q=0.1", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0, *", False),
        ("gzip;q=x", False),
        ("br", False),
        ("identity", False),
        ("", False),
        ("gzip," * 1000, False),
    ],
)
def test_clients_say_whether_they_take_it(site: Context, coding: str, is_taken: bool) -> None:
    assert takes_gzip(coding) == is_taken
    assert (ask(site, "text", coding)[1]["Content-Encoding"] == "gzip") == is_taken


def test_curl_asks_for_it(site: Context) -> None:
    url = f"http://{site.ip}:{site.port}/site/large"
    assert curl("--compressed", url) == LARGE
    assert int(curl("--compressed", "-o", "/dev/null", "-w", "%{size_download}", url)) < 10_000
