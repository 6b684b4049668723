"""What every context serves by itself: who goes before it, how it is moved, and who may ask."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from compactor import Context, Process, Request, Settings, answer, route
from compactor.auth import Access
from compactor.endpoints.access import is_from_here
from compactor.endpoints.endpoint import READWRITE, Endpoint
from compactor.endpoints.registry import BUILT_IN, Endpoints
from compactor.errors import RemoteProtocolError
from compactor.settings import SettingsError
from tests.actors import TIMEOUT
from tests.endpoints.asking import fetch
from tests.http.curl import curl

MakeContext = Callable[..., Context]


class Version(Process):
    @route("/old")
    def old(self, request: Request) -> str:
        return "mine"


class Stats(Process):
    @route("/version")
    def version(self, request: Request) -> str:
        return "delegate's"

    @answer("system")
    def system(self, from_pid: Any, body: bytes) -> bytes:
        return b"answered"


def endpoints_of(context: Context) -> Endpoints:
    found = context._runtime.pages.endpoints()
    assert found is not None
    return found


@pytest.mark.smoke
def test_curl_finds_endpoints_in_a_context_without_processes(make_context: MakeContext) -> None:
    context = make_context()

    told = curl("-i", f"http://{context.ip}:{context.port}/version")

    assert told.startswith("HTTP/1.1 200 OK\r\n")
    assert '"name":"compactor"' in told


def test_a_process_of_the_same_id_goes_before_all_endpoints_of_that_id(
    make_context: MakeContext,
) -> None:
    context = make_context()
    pid = context.spawn(Version("version"))

    assert fetch(context, "/version/old").text == "mine"
    assert fetch(context, "/version").status == 404  # C++ has one process of an id, too

    context.terminate(pid)
    context.wait(pid).result(10)
    assert fetch(context, "/version").status == 200


def test_a_route_of_the_delegate_goes_before_an_endpoint(make_context: MakeContext) -> None:
    context = make_context(delegate="stats")
    context.spawn(Stats("stats"))

    assert fetch(context, "/version").text == "delegate's"
    assert fetch(context, "/system/stats.json").status == 200


def test_names_that_the_delegate_answers_leave_endpoints_alone(make_context: MakeContext) -> None:
    context = make_context(delegate="stats")
    context.spawn(Stats("stats"))

    assert fetch(context, "/stats/system", "POST", b"").body == b"answered"
    assert fetch(context, "/system", "POST", b"").status == 404


@pytest.mark.parametrize("path", ["/version", "/version/", "/%76ersion", "/version?a=b"])
def test_paths_are_read_as_those_of_routes(make_context: MakeContext, path: str) -> None:
    assert fetch(make_context(), path).status == 200


@pytest.mark.parametrize(
    "path", ["/system", "/system/stats", "/version/x", "/%zz", "/..", "/version/..", "//version"]
)
def test_other_paths_are_not_found(make_context: MakeContext, path: str) -> None:
    assert (fetch(make_context(), path)[::2]) == (404, b"404 Not Found.")


def test_all_are_turned_off(make_context: MakeContext) -> None:
    context = make_context(settings=Settings(endpoints=False))

    for endpoint in BUILT_IN:
        assert fetch(context, endpoint.path).status == 404


def test_all_are_moved_under_a_prefix(make_context: MakeContext) -> None:
    context = make_context(settings=Settings(endpoints_prefix="/admin/v1"))

    assert fetch(context, "/admin/v1/version").status == 200
    for path in ("/version", "/admin/v1", "/admin/v1/", "/admin/v1version", "/admin/v1/%zz"):
        assert fetch(context, path).status == 404


@pytest.mark.parametrize("prefix", ["/", "admin", "/admin/", "/a b", "//a", "/a/..", "/%61", 5])
def test_a_prefix_that_cannot_be_is_an_error(prefix: Any) -> None:
    with pytest.raises(
        SettingsError, match=r"endpoints_prefix=.* must be empty, or a path such as"
    ):
        Settings(endpoints_prefix=prefix)


def test_methods_are_those_of_routes(make_context: MakeContext) -> None:
    context = make_context()
    get, head = fetch(context, "/version"), fetch(context, "/version", "HEAD")
    options, delete = fetch(context, "/version", "OPTIONS"), fetch(context, "/version", "DELETE")

    assert fetch(context, "/version", "POST", b"x").body == get.body
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(get.body))
    assert (options.status, options.headers["allow"]) == (200, "GET, HEAD, OPTIONS, POST")
    assert (delete.status, delete.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")


# Endpoints of all kinds, in the place of those that come with a context


async def _slow(request: Request, owner: Any) -> str:
    await asyncio.sleep(0.02)
    return "slow"


def _fails(request: Request, owner: Any) -> str:
    raise ValueError("a secret")


async def _refuses(request: Request, owner: Any) -> str:
    raise RemoteProtocolError("there is no such gauge", 400)


def _quick(request: Request, owner: Any) -> str:
    return f"quick{request.below}"


MADE_UP = [
    Endpoint("/slow", _slow, "Slow."),
    Endpoint("/fails", _fails, "Fails."),
    Endpoint("/refuses", _refuses, "Refuses."),
    Endpoint("/quick", _quick, "Quick.", below=True),
    Endpoint("/set", _quick, "Sets.", realm=READWRITE, changes=True),
]


@pytest.fixture
def context(make_context: MakeContext) -> Context:
    context = make_context()
    for endpoint in MADE_UP:
        endpoints_of(context).add(endpoint)
    return context


def test_what_endpoints_return_and_raise_is_answered(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    assert fetch(context, "/slow").text == "slow"
    assert fetch(context, "/quick/a//b/").text == "quick/a//b"
    assert fetch(context, "/refuses")[::2] == (400, b"there is no such gauge")
    assert fetch(context, "/fails")[::2] == (500, b"500 Internal Server Error.")
    assert "process built-in endpoints@" in caplog.text


def test_endpoints_that_wait_hold_up_no_others(context: Context) -> None:
    address = f"http://{context.ip}:{context.port}"

    told = curl(*[f"{address}/slow"] * 3, f"{address}/quick")

    assert told == "slowslowslowquick"


def test_one_endpoint_holds_up_no_other(context: Context) -> None:
    over = threading.Event()

    async def hang(request: Request, owner: Any) -> str:
        while not over.is_set():
            await asyncio.sleep(0.001)
        return "over"

    endpoints_of(context).add(Endpoint("/hang", hang, "Hangs.", at_once=3))
    with socket.create_connection((context.ip, context.port), timeout=TIMEOUT) as sock:
        sock.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
        while fetch(context, "/hang").status != 503:
            pass
        assert fetch(context, "/slow").text == "slow"
        over.set()
        received = b""
        while received.count(b"HTTP/1.1 ") < 500:
            received += sock.recv(1 << 16)
    assert received.count(b"HTTP/1.1 503") == 497
    assert fetch(context, "/hang").text == "over"


@pytest.mark.parametrize(
    ("ip", "fields", "is_here"),
    [
        ("127.0.0.1", {}, True),
        ("127.8.0.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("::ffff:192.0.2.1", {}, False),
        ("192.0.2.1", {}, False),
        ("fe80::1%eth0", {}, False),
        ("", {}, False),
        ("127.0.0.1", {b"x-forwarded-for": b"127.0.0.1"}, False),
        ("127.0.0.1", {b"forwarded": b"for=192.0.2.1"}, False),
    ],
)
def test_who_is_on_this_host(ip: str, fields: dict[bytes, bytes], is_here: bool) -> None:
    assert is_from_here(Request("GET", "/", headers=fields.items(), peer=(ip, 1))) is is_here


def test_what_changes_something_is_for_this_host_alone(context: Context) -> None:
    assert fetch(context, "/set").status == 200
    refused = fetch(context, "/set", X_Forwarded_For="192.0.2.7")
    assert refused.status == 403
    assert "only clients on the host of this context" in refused.text


HERE = "http://127.0.0.1"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Referer": "https://ui.example.com/page"}, 200),
        ({"Sec_Fetch_Site": "cross-site", "Referer": "https://example.com/page"}, 403),
        ({"Origin": "https://example.com"}, 403),
        ({"User_Agent": "Mozilla/5.0"}, 403),
        ({"User_Agent": "Mozilla/5.0", "Referer": "https://example.com/page"}, 403),
        ({"Sec_Fetch_Site": "same-origin", "Host": "evil.example.com"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/set", "/version?jsonp=f"])
def test_web_pages_of_others_change_nothing_and_read_no_scripts(
    make_context: MakeContext, fields: dict[str, str], status: int, path: str
) -> None:
    context = make_context(settings=Settings(allowed_origins=("https://ui.example.com",)))
    endpoints_of(context).add(MADE_UP[-1])

    assert fetch(context, path, **fields).status == status


@pytest.mark.parametrize("is_async", [False, True])
def test_who_is_known_may_change_something_from_elsewhere(
    make_context: MakeContext, is_async: bool
) -> None:
    def who(request: Request) -> Any:
        return request.headers.get("Authorization")

    async def who_later(request: Request) -> Any:
        await asyncio.sleep(0)
        return who(request)

    access = Access(
        {"readwrite": who_later if is_async else who},
        {"/slow": lambda request, principal: "no" not in request.query},
        ["/version"],
    )
    context = make_context(access=access)
    for endpoint in MADE_UP:
        endpoints_of(context).add(endpoint)

    assert fetch(context, "/set", X_Forwarded_For="192.0.2.7", Authorization="x").status == 200
    assert fetch(context, "/set/", Authorization="x").status == 200
    assert fetch(context, "/set").status == 401
    assert fetch(context, "/set", "POST", b"").status == 401
    assert fetch(context, "/set", Sec_Fetch_Site="cross-site", Authorization="x").status == 403
    assert fetch(context, "/slow").text == "slow"
    assert fetch(context, "/slow?no").status == 403
    assert fetch(context, "/version").text == "Endpoint '/version' is disabled"
    assert fetch(context, "/system/stats.json").status == 200


def test_a_realm_that_is_not_configured_leaves_changes_to_this_host(
    make_context: MakeContext,
) -> None:
    context = make_context(access=Access({"other": lambda _: "x", "readwrite": None}))
    endpoints_of(context).add(MADE_UP[-1])

    assert fetch(context, "/set", X_Forwarded_For="192.0.2.7", Authorization="x").status == 403
    assert fetch(context, "/set").status == 200


def test_endpoints_under_a_prefix_are_locked_by_their_own_names(
    make_context: MakeContext,
) -> None:
    access = Access({"readwrite": lambda _: None}, None, ["/version", "/admin/system/stats.json"])
    context = make_context(access=access, settings=Settings(endpoints_prefix="/admin"))
    endpoints_of(context).add(MADE_UP[-1])

    for path, status in (("/set", 401), ("/version", 403), ("/system/stats.json", 403)):
        assert fetch(context, f"/admin{path}").status == status


def test_what_waits_is_answered_when_a_context_stops(make_context: MakeContext) -> None:
    context = make_context()
    began = asyncio.Event()

    async def never(request: Request, owner: Any) -> str:
        context.stop()
        began.set()
        return await asyncio.Event().wait() or ""

    endpoints_of(context).add(Endpoint("/never", never, "Never."))

    assert fetch(context, "/never").status == 500
    assert began.is_set()


@pytest.mark.parametrize("callback", ["f", "app.show", "$._x1"])
def test_a_script_calls_what_a_page_names(make_context: MakeContext, callback: str) -> None:
    told = fetch(make_context(), f"/version?jsonp={callback}")

    assert told.type == "text/javascript"
    assert told.text.startswith(callback + "({")
    assert told.text.endswith("})")


@pytest.mark.parametrize(
    "callback", ["", "1a", "f(", "alert(1)//", "a..b", "a%0Ab", "<script>", "%E4", "a" * 80, "a."]
)
def test_a_script_calls_nothing_else(make_context: MakeContext, callback: str) -> None:
    assert fetch(make_context(), f"/version?jsonp={callback}").status == 400


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    program = """
import sys
from compactor import Context
context = Context(ip="127.0.0.1")
context.start()
print([name for name in sys.modules if "endpoints" in name])
context.stop()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
