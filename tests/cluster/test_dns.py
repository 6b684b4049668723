"""SRV records of a name server that is asked over UDP."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from compactor import Context, Process
from compactor.cluster import Cluster, ClusterUnreachable, NobodyFound
from compactor.cluster.conformance import KnownNamesConformance
from compactor.cluster.engines import dns as engine
from tests.ports import own_port

message = pytest.importorskip("dns.message", reason="dns+srv:// needs dnspython")
rcode = pytest.importorskip("dns.rcode")
rrset = pytest.importorskip("dns.rrset")


class NameServer:
    """Answers with the records that it is given, by name; with nothing while it is silent."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.is_silent = False
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.url = f"dns+srv://127.0.0.1:{self.sock.getsockname()[1]}/shop.example"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            data, sender = self.sock.recvfrom(65_536)
            if not data:
                return
            if self.is_silent:
                continue
            asked = message.from_wire(data)
            (question,) = asked.question
            answer = message.make_response(asked)
            found = self.records.get(question.name.to_text())
            if found is None:
                answer.set_rcode(rcode.NXDOMAIN)
            elif found:
                answer.answer.append(rrset.from_text(question.name, 0, "IN", "SRV", *found))
            self.sock.sendto(answer.to_wire(), sender)

    def close(self) -> None:
        self.sock.sendto(b"", self.sock.getsockname())
        self.thread.join(10)
        self.sock.close()


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


ORDERS = "_orders._tcp.shop.example."


class TestDns(KnownNamesConformance):
    known = ("orders", [])

    @pytest.fixture(autouse=True)
    def _server(self, server: NameServer) -> None:
        self.server = server

    def url(self) -> str:
        return self.server.url

    def run(self, check: Any) -> None:
        async def run() -> None:
            async with Context(ip="127.0.0.1", port=own_port()) as home:
                self.known = "orders", [f"orders@localhost:{home.port}"]
                home.spawn(Process("orders"))
                self.server.records[ORDERS] = [f"0 0 {home.port} localhost."]
                await check()

        asyncio.run(asyncio.wait_for(run(), 30))


def test_records_change_and_a_silent_server_takes_nobody_away(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_LEAST", 0.02)
    monkeypatch.setattr(engine, "_LIFETIME", 0.1)

    async def run() -> None:
        async with Context(ip="127.0.0.1", port=own_port()) as home:
            home.spawn(Process("orders"))
            here, other = f"{home.port} localhost.", f"{home.port} 127.0.0.1."
            server.records[ORDERS] = [f"20 0 {here}", f"10 5 {other}", "30 0 0 ."]
            async with Cluster(server.url, home) as cluster:
                watch = cluster.watch("orders")
                shown = [(m.pid.ip, m.metadata["priority"]) for m in await watch.__anext__()]
                assert shown == [("127.0.0.1", 10), ("localhost", 20)]
                server.is_silent = True
                await asyncio.sleep(0.3)
                server.records[ORDERS] = [f"5 0 {here}"]
                assert len(cluster._names["orders"].members) == 2
                server.is_silent = False
                assert [m.metadata["priority"] for m in await watch.__anext__()] == [5]
                server.records[ORDERS] = []
                assert await watch.__anext__() == ()
                for name in ("x" * 63, "größe", "a.b", "nobody"):
                    with pytest.raises(NobodyFound):
                        await cluster.find(name, timeout=0.05)

    asyncio.run(run())


def test_no_name_server_is_told_in_time(server: NameServer) -> None:
    server.is_silent = True

    async def run() -> None:
        async with Context(ip="127.0.0.1", port=own_port()) as context:
            with pytest.raises(ClusterUnreachable, match="cannot be reached within"):
                async with Cluster(server.url, context, timeout=0.3):
                    pass

    asyncio.run(run())
