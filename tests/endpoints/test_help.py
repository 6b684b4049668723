"""``/help``: what it tells, as libprocess does, and of what."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from compactor import Context, Process, Request, Settings, answer, install, route
from compactor.auth import Access
from compactor.endpoints import help as help_
from compactor.endpoints.registry import BUILT_IN
from tests.endpoints.asking import Answer, fetch, recorded

MakeContext = Callable[..., Context]


class Web(Process):
    """Has the routes of the process that was asked when C++ was recorded."""

    @route("/hello")
    def hello(self, request: Request) -> str:
        """Says hello.

        Nothing more.
        """
        return "hello"

    def _undocumented(self, request: Request) -> str:
        return ""


for name in ("bad", "big", "echo", "fail", "json", "slow", "stream", "streamin"):
    setattr(Web, name, route(f"/{name}")(lambda self, request: ""))


class Guarded(Process):
    @route("/one", realm="staff")
    def one(self, request: Request) -> str:
        """Is in a realm."""
        return ""

    @route("/two", methods=["GET"])
    def get(self, request: Request) -> str:
        """Is open."""
        return ""

    @route("/two", methods=["PUT"], realm="staff")
    def put(self, request: Request) -> str:
        """Is not."""
        return ""

    @answer("three", realm="owners")
    def three(self, from_pid: Any, body: bytes) -> bytes:
        """Asks who asks."""
        return b""


class Shop(Process):
    @route("/")
    def root(self, request: Request) -> str:
        """The shop <itself>."""
        return "shop"

    @route("/items/{item}", methods=["GET"])
    def item(self, request: Request) -> str:
        """Shows an item."""
        return ""

    @route("/items/{item}", methods=["PUT"])
    def put(self, request: Request) -> str:
        """Sets an item.

        Others are left alone.
        """
        return ""

    @route("/any", methods=["GET", "POST"])
    def any(self, request: Request) -> str:
        """Is both."""
        return ""

    @answer("price")
    def price(self, from_pid: Any, body: bytes) -> bytes:
        """Tells what an item costs,
        in cents."""
        return b""

    @answer("secret", http=False)
    def secret(self, from_pid: Any, body: bytes) -> bytes:
        """Is not for all."""
        return b""

    @install("closed")
    def closed(self, from_pid: Any, body: bytes) -> None:
        pass


Shop.loaded = route("/loaded")(functools.partial(Shop.any))  # type: ignore[attr-defined]


@pytest.fixture
def context(make_context: MakeContext) -> Context:
    context = make_context()
    for name in ("web", "slave(1)"):
        context.spawn(Web(name))
    context.spawn(Process("without anything".replace(" ", "-")))
    return context


def told(context: Context, path: str, agent: str = "curl/7.88.1", **headers: str) -> Answer:
    return fetch(context, path, User_Agent=agent, **headers)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("curl_help_web", "/help/web"),
        ("curl_help_slave_1", "/help/slave(1)"),
        ("curl_help_web_hello", "/help/web/hello"),
        ("curl_help_web_echo", "/help/web/echo"),
        ("curl_help_web_nothing", "/help/web/nothing"),
        ("curl_help_nobody", "/help/nobody"),
    ],
)
def test_pages_are_those_of_libprocess(context: Context, name: str, path: str) -> None:
    theirs, ours = recorded(name), told(context, path)

    assert (ours.status, ours.type, ours.text) == (theirs.status, theirs.type, theirs.text)
    assert ours.headers["content-length"] == theirs.headers["content-length"]


@pytest.mark.parametrize("name", ["delegate_web_help_web", "delegate_web_help_web_hello"])
def test_pages_of_a_delegate_are_those_of_libprocess(make_context: MakeContext, name: str) -> None:
    context = make_context(delegate="web")
    context.spawn(Web("web"))
    path = "/" + name.removeprefix("delegate_web_").replace("_", "/")

    ours, theirs = told(context, path), recorded(name)

    assert (ours.status, ours.type, ours.text) == (theirs.status, theirs.type, theirs.text)


@pytest.mark.parametrize("path", ["/help", "/help/"])
@pytest.mark.parametrize("agent", ["curl/7.88.1", "HTTPie/3.2"])
def test_the_index_is_that_of_libprocess(context: Context, path: str, agent: str) -> None:
    theirs, ours = recorded("curl_help"), told(context, path, agent)
    inside = ("profiler", "metrics")  # of libprocess alone, or of others
    lines = [line for line in theirs.text.split("\n") if not any(i in line for i in inside)]

    assert (ours.status, ours.type) == (theirs.status, theirs.type)
    here = ours.text.split("\n")
    assert [line for line in here if line in lines] == lines
    ids = {endpoint.id for endpoint in BUILT_IN} | {"web", "slave(1)"}
    assert [line for line in here if line.startswith("> ")] == [
        f"> [/{id_}][{id_}]" for id_ in sorted(ids)
    ]


def test_json_is_that_of_libprocess(context: Context) -> None:
    theirs = recorded("curl_help_format=json")
    ours = told(context, "/help?format=json")
    known = {process["id"]: process for process in theirs.json["processes"]}

    assert (ours.status, ours.type) == (theirs.status, theirs.type)
    assert ours.body.startswith(b'{"processes":[{"id":')
    found = {process["id"]: process for process in ours.json["processes"]}
    assert list(found) == sorted(found)
    for id_ in ("web", "slave(1)"):
        assert found[id_] == known[id_]
        assert told(context, f"/help/{id_}?format=json").json == known[id_]
    for id_ in ("logging", "system"):
        names = [endpoint["name"] for endpoint in found[id_]["endpoints"]]
        assert names == [endpoint["name"] for endpoint in known[id_]["endpoints"]]


@pytest.mark.parametrize("query", ["format=json&jsonp=f", "format=json"])
def test_the_index_is_no_script_as_in_libprocess(context: Context, query: str) -> None:
    assert told(context, f"/help?{query}").type == recorded("curl_help_format=json_jsonp=f").type


def test_browsers_and_others_get_html(context: Context) -> None:
    context.spawn(Shop("shop"))
    for agent in ("Mozilla/5.0", "", "python"):
        index = told(context, "/help", agent)
        assert index.type == "text/html; charset=utf-8"
        assert '<a href="/help/slave%281%29">/slave(1)</a>' in index.text
        assert "default-src 'none'" in index.headers["content-security-policy"]
        shop = told(context, "/help/shop", agent).text
        assert "The shop &lt;itself&gt;." in shop
        assert '<a href="/help/shop/items/%7Bitem%7D">/shop/items/{item}</a>' in shop
        assert '<a href="/help/shop/closed">closed</a>' in shop
        assert "PUT: Sets an item." in told(context, "/help/shop/items/%7Bitem%7D", agent).text


def test_a_head_has_no_body(context: Context) -> None:
    ours = fetch(context, "/help", "HEAD", User_Agent="curl")

    assert (ours.status, ours.type, ours.body) == (200, recorded("HEAD_help").type, b"")
    assert ours.headers["content-length"] == str(len(told(context, "/help").body))


def test_everything_that_a_process_takes_is_told(make_context: MakeContext) -> None:
    context = make_context()
    context.spawn(Shop("shop"))

    assert told(context, "/help/shop").text == (
        "## `/shop` ##\n"
        "> [/shop/any][shop/any]\n"
        "> [/shop/items/{item}][shop/items/{item}]\n"
        "> [/shop/loaded][shop/loaded]\n"
        "> [/shop/price][shop/price]\n"
        "\n"
        "[shop/any]: shop/any\n"
        "[shop/items/{item}]: shop/items/{item}\n"
        "[shop/loaded]: shop/loaded\n"
        "[shop/price]: shop/price\n"
        "\n"
        "### USAGE ###\n"
        ">        /shop\n"
        "\n"
        "### TL;DR; ###\n"
        "The shop <itself>.\n"
        "\n"
        "### AUTHENTICATION ###\n"
        "This endpoint does not require authentication.\n"
        "\n"
        "### MESSAGES ###\n"
        "> `closed`\n"
        "> `price`: Tells what an item costs, in cents.\n"
        "> `secret`: Is not for all.\n"
    )
    assert ">        POST /shop/price\n" in told(context, "/help/shop/price").text
    assert "the message secret, which is answered" in told(context, "/help/shop/secret").text
    assert told(context, "/help/shop/closed").text.startswith("## No help page for the message")
    assert ">        GET /shop/any\n>        POST /shop/any\n\n### TL;DR; ###\nIs both." in (
        told(context, "/help/shop/any").text
    )
    messages = told(context, "/help/shop?format=json").json["messages"]
    assert [message["name"] for message in messages] == ["closed", "price", "secret"]


@pytest.mark.parametrize(
    "path", ["/help/without-anything", "/help/..", "/help/%zz", "/help/%00", "/help/%E4"]
)
def test_of_what_serves_nothing_there_is_no_help(context: Context, path: str) -> None:
    assert told(context, path).status == 404


def test_there_is_help_for_every_endpoint(make_context: MakeContext) -> None:
    context = make_context(settings=Settings(endpoints_prefix="/admin"))

    for endpoint in BUILT_IN:
        text = told(context, f"/admin/help{endpoint.path}").text
        assert f">        /admin{endpoint.path}\n" in text
        assert f"### TL;DR; ###\n{endpoint.summary}\n" in text
        assert endpoint.description.strip() in text


def test_a_process_has_the_help_on_its_id_for_itself(make_context: MakeContext) -> None:
    context = make_context()
    context.spawn(Web("logging"))

    assert "toggle" not in told(context, "/help/logging").text
    assert told(context, "/help").text.count("> [/logging]") == 1


def test_many_processes_are_not_sorted(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(help_, "_MOST_SORTED", 3)
    context = make_context()
    for name in ("d", "a", "c", "b"):
        context.spawn(Web(name))

    found = told(context, "/help?format=json").json["processes"]

    assert [process["id"] for process in found if len(process["id"]) == 1] == ["d", "a", "c", "b"]
    assert {endpoint.id for endpoint in BUILT_IN} < {process["id"] for process in found}


def test_help_tells_who_has_to_say_who_it_is(make_context: MakeContext) -> None:
    """In the words of libprocess, and the realm."""
    everybody = {"staff": lambda _: None, "owners": lambda _: None}
    context = make_context(access=Access(everybody))
    context.spawn(Guarded("guarded"))
    section = "### AUTHENTICATION ###\n"
    words = "This endpoint requires authentication iff HTTP authentication is\nenabled.\n"

    def said(name: str) -> str:
        return told(context, f"/help/guarded/{name}").text.partition(section)[2]

    assert said("one") == f"{words}The realm is `staff`.\n\n"
    assert said("three") == f"{words}The realm is `owners`.\n\n"
    assert said("two") == (f"{words}GET: no authentication.\nPUT: the realm is `staff`.\n\n")
    assert "The realm is `staff`." in told(context, "/help/guarded?format=json").text
