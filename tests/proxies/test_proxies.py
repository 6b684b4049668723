"""Links and other clients through nginx, HAProxy and Apache, which share connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from compactor import PID, Context, Process, Reason, Request, Settings, route
from compactor.wire import notices
from tests.actors import TIMEOUT, Receiver, settle, spawned, wait_until
from tests.ports import own_port
from tests.raw import read_answer, read_bytes

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"

NGINX = """
daemon off; master_process off; pid {home}/pid; error_log {home}/errors;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {home}/a; proxy_temp_path {home}/b; fastcgi_temp_path {home}/c;
    uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;
    {servers}
}}
"""

ONE_CONNECTION = """
upstream context {{ server 127.0.0.1:{to}; keepalive 1; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://context;
        {version}
        proxy_read_timeout 2s;
    }}
}}
"""

APACHE = """
ServerRoot {home}
PidFile {home}/pid
ErrorLog {home}/errors
ServerName localhost
User nobody
Group nogroup
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
ProxyPass / http://127.0.0.1:{to}/
"""

HAPROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 2s
    timeout server 2s
    http-reuse always
frontend clients
    bind 127.0.0.1:{port}
    default_backend context
backend context
    server one 127.0.0.1:{to} pool-max-conn 1
    {more}
"""


class Web(Process):
    """Answers with the number that it was asked for."""

    @route("/number")
    def number(self, handler: object) -> str:
        return handler.arguments["n"][0].decode()  # type: ignore[attr-defined,no-any-return]


@contextlib.contextmanager
def nginx(home: pathlib.Path, port: int, servers: str) -> Iterator[None]:
    program = shutil.which("nginx", path=PATH)
    if program is None:
        pytest.skip("nginx is not installed here")
    (home / "conf").write_text(NGINX.format(home=home, servers=servers))
    with running(port, program, "-p", str(home), "-c", str(home / "conf"), "-e", f"{home}/log"):
        yield


@contextlib.contextmanager
def apache(home: pathlib.Path, port: int, to: int) -> Iterator[None]:
    program = shutil.which("apache2", path=PATH)  # Debian's name for it, and its place for modules
    if program is None:
        pytest.skip("Apache is not installed here")
    modules = pathlib.Path(program).parents[1] / "lib" / "apache2" / "modules"
    if not (modules / "mod_proxy_http.so").exists():
        pytest.skip("Apache is installed without its modules for proxies")
    (home / "conf").write_text(APACHE.format(home=home, port=port, to=to, modules=modules))
    with running(port, program, "-X", "-f", str(home / "conf")):
        yield


@contextlib.contextmanager
def haproxy(home: pathlib.Path, port: int, to: int, more: str = "") -> Iterator[None]:
    program = shutil.which("haproxy", path=PATH)
    if program is None:
        pytest.skip("haproxy is not installed here")
    (home / "conf").write_text(HAPROXY.format(port=port, to=to, more=more))
    with running(port, program, "-db", "-f", str(home / "conf")):
        yield


@contextlib.contextmanager
def running(port: int, *command: str) -> Iterator[None]:
    """A proxy that takes connections."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as proxy:
        try:
            deadline = time.monotonic() + 10
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if proxy.poll() is not None:
                    assert proxy.stdout is not None
                    pytest.fail(f"{command[0]} has ended: {proxy.stdout.read().decode()}")
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield
        finally:
            proxy.terminate()


REUSED = 'proxy_http_version 1.1; proxy_set_header Connection "";'


@pytest.fixture(params=["nginx", "nginx with HTTP/1.0", "haproxy"])
def proxied(
    request: pytest.FixtureRequest,
    tmp_path: pathlib.Path,
    make_local: Callable[..., Context],
) -> Iterator[tuple[Context, int]]:
    """A context, and the port of a proxy before it that cuts what is silent for 2 s."""
    context = make_local(settings=Settings(notice_interval=0.5))
    port = own_port()
    if request.param == "haproxy":
        proxy = haproxy(tmp_path, port, context.port)
    else:
        version = REUSED if request.param == "nginx" else ""
        servers = ONE_CONNECTION.format(port=port, to=context.port, version=version)
        proxy = nginx(tmp_path, port, servers)
    with proxy:
        yield context, port


def test_every_client_has_its_own_answers_whatever_links_came_through(
    proxied: tuple[Context, int],
) -> None:
    context, port = proxied
    spawned(context, Web("web"))
    name = "x" * 32
    with (
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as asked,
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as linking,
    ):
        asked.sendall(notices.request(f"127.0.0.1:{port}", "@127.0.0.1:7", name))
        wait_until(lambda: context._runtime.observers._streams)
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        for number in range(20):
            there = spawned(context, Receiver("there"))
            linking.sendall(
                b"POST /there/compactor.link HTTP/1.1\r\nHost: localhost\r\n"
                b"Libprocess-From: x@127.0.0.1:7\r\nCompactor-Link: %b\r\n"
                b"Content-Length: 0\r\n\r\n" % (name.encode() if number % 2 else b"1")
            )
            assert read_answer(linking)[0] == 202
            there.terminate()
            wait_until(lambda: "there" not in context._runtime.registry.live)
            client.request("GET", f"/web/number?n={number}")
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (200, b"%d" % number)
        seen = b""
        while seen.count(b"exited there terminated") < 10:
            seen += asked.recv(65536)
        client.close()


def test_a_linker_hears_of_an_end_through_a_proxy_after_a_long_silence(
    proxied: tuple[Context, int], make_local: Callable[..., Context]
) -> None:
    context, port = proxied
    here, there = spawned(make_local(), Receiver("here")), spawned(context, Receiver("there"))
    pid = PID("127.0.0.1", port, "there")
    here.link(pid)
    observers = context._runtime.observers
    wait_until(lambda: observers.watched)
    streams = list(observers._streams.values())
    there.terminate()
    assert here.exits.take() == (pid, Reason.TERMINATED)
    there = spawned(context, Receiver("there"))
    here.link(pid)
    wait_until(lambda: observers.watched)
    peer = here.context._runtime.peers[pid.address]
    wait_until(lambda: peer.links._marks)
    for stream in streams:  # cut on the way: it is asked for again
        context._portal.call(stream.cut)
    wait_until(lambda: streams != list(observers._streams.values()) and observers._streams)
    wait_until(lambda: observers.watched["there"].streams)
    settle(here)
    assert here.exits.is_empty
    there.terminate()
    assert here.exits.take() == (pid, Reason.TERMINATED)


def test_notices_keep_a_stream_open_that_proxies_cut_for_silence(
    proxied: tuple[Context, int],
) -> None:
    _context, port = proxied
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as asked:
        asked.sendall(notices.request(f"127.0.0.1:{port}", "@127.0.0.1:7", "y" * 32))
        until, seen = time.monotonic() + 3, b""
        while time.monotonic() < until:
            data = asked.recv(4096)
            assert data
            seen += data
    assert seen.count(b"alive") > 4


class Site(Receiver):
    """A route beside the messages that a receiver takes."""

    @route("/upload")
    def upload(self, request: Request) -> dict[str, object]:
        return {
            "size": len(request.body),
            "client": request.headers["X-Forwarded-For"],
            "cookie": request.headers.get("Cookie"),
        }


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_an_upload_through_apache_is_asked_for_and_arrives(
    make_local: Callable[..., Context], tmp_path: pathlib.Path, framing: str
) -> None:
    """Apache waits for the context to ask, and has its client wait as well."""
    context, port = make_local(), own_port()
    spawned(context, Site("site"))
    length, body = "Content-Length: 300000", bytes(300_000)
    if framing == "chunks":
        length, body = "Transfer-Encoding: chunked", b"493e0\r\n%b\r\n0\r\n\r\n" % body
    head = f"POST /site/upload HTTP/1.1\r\nHost: x\r\n{length}\r\nExpect: 100-continue\r\n\r\n"
    with (
        apache(tmp_path, port, context.port),
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as client,
    ):
        client.sendall(head.encode())
        asked = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert read_bytes(client, len(asked)) == asked
        client.sendall(body)
        status, answer = read_answer(client)
    assert (status, json.loads(answer)["size"]) == (200, 300_000)


PAGE = pathlib.Path(__file__).parents[2] / "docs" / "http.md"
OF_BROWSERS = {"User-Agent": "Mozilla/5.0", "Accept-Language": "en", "Sec-Fetch-Mode": "cors"}


def test_the_configuration_of_the_page_lets_requests_through_and_no_messages(
    make_local: Callable[..., Context], tmp_path: pathlib.Path
) -> None:
    context = make_local(settings=Settings(allowed_hosts=("box.example.com",)))
    site, port = spawned(context, Site("site")), own_port()
    (text,) = re.findall(r"^```nginx\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert "127.0.0.1:5050" in text
    assert "listen 80;" in text
    text = text.replace("127.0.0.1:5050", f"127.0.0.1:{context.port}")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};")
    host = f"box.example.com:{port}"

    def ask(method: str, path: str, body: bytes = b"", **fields: str) -> tuple[int, bytes]:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        with contextlib.closing(client):
            client.request(method, path, body, {"Host": host, **named})
            answer = client.getresponse()
            return answer.status, answer.read()

    with nginx(tmp_path, port, text):
        own = {**OF_BROWSERS, "Origin": f"http://{host}", "Cookie": "user=ann"}
        status, body = ask("POST", "/site/upload", bytes(3 << 20), **own)
        found = {"size": 3 << 20, "client": "127.0.0.1", "cookie": "user=ann"}
        assert (status, json.loads(body)) == (200, found)
        other = {**OF_BROWSERS, "Origin": "http://evil.example"}
        assert ask("POST", "/site/upload", **other)[0] == 403
        assert ask("POST", "/site/message", Libprocess_From="x@127.0.0.1:1")[0] == 404
        assert ask("POST", "/site/message", User_Agent="libprocess/x@127.0.0.1:1")[0] == 403
        notices = {"Libprocess_From": "x@127.0.0.1:1", "Compactor_Notices": "x" * 32}
        assert ask("GET", "/compactor.notices", **notices)[0] == 404
    settle(site)
    assert site.received.is_empty
    assert not context._runtime.observers._streams
