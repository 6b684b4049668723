"""HTTP GET of one route under wrk with 50 connections, against a bare server on httptools.

The bare server answers every request with the bytes that compactor's route answers.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
from typing import cast

import httptools

from benchmarks.actors import new_context
from benchmarks.children import ChildFailed, Children, Report
from benchmarks.floors import listen, new_loop
from benchmarks.harness import Contestant, Metric, Scenario, Target, Values
from compactor import Process, Request, route
from tests.interop.programs import Unavailable

CONNECTIONS = 50
PATH = "/web/hello"
Address = tuple[str, int]


class Web(Process):
    def __init__(self) -> None:
        super().__init__("web")

    @route("/hello")
    def hello(self, request: Request) -> str:
        return "hello, world\n"


def run_compactor(report: Report) -> None:
    pid = new_context().spawn(Web())
    report((pid.ip, pid.port))


class Bare(asyncio.Protocol):
    """One accepted connection: a parser, and one write per chunk of requests."""

    def __init__(self, response: bytes) -> None:
        self.response = response
        self.parser = httptools.HttpRequestParser(self)
        self.requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's is no subclass

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_message_complete(self) -> None:
        self.requests += 1

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        self.transport.write(self.response * self.requests)
        self.requests = 0


def run_bare(report: Report, response: bytes) -> None:
    loop = new_loop()
    report(listen(loop, lambda: Bare(response)))
    loop.run_forever()


def get(address: Address) -> bytes:
    """All bytes of the response to one GET."""
    with socket.create_connection(address) as connection:
        connection.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {address[0]}\r\n\r\n".encode())
        response = b""
        while not response.endswith(b"hello, world\n"):
            response += connection.recv(65536)
    return response


def wrk(address: Address, seconds: float) -> float:
    """Requests per second."""
    url = f"http://{address[0]}:{address[1]}{PATH}"
    whole_seconds = max(1, round(seconds))
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{whole_seconds}s", url]
    output = subprocess.run(command, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec: +([\d.]+)", output)
    if rate is None or "Non-2xx" in output or "Socket errors" in output:
        raise ChildFailed(f"wrk says: {output}")
    return float(rate[1])


def play(children: Children, seconds: float) -> Values:
    _need_wrk()
    return {"rate": wrk(children.start(run_compactor)(), seconds)}


def play_bare(children: Children, seconds: float) -> Values:
    _need_wrk()
    with children.fresh() as model:
        response = get(model.start(run_compactor)())
    return {"rate": wrk(children.start(run_bare, response)(), seconds)}


def _need_wrk() -> None:
    if not shutil.which("wrk"):
        raise Unavailable("wrk is not installed (Debian's package wrk)")


BARE = "bare server"
SCENARIO = Scenario(
    "web",
    {
        "rate": Metric(
            f"HTTP GET, {CONNECTIONS} connections", "requests/s", targets=(Target(0.8, BARE),)
        )
    },
    play,
    {BARE: Contestant(play_bare)},
)
