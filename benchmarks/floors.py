"""The floors: what an afternoon's sketch reaches, without compactor and without tuning.

`Node` is a bare libprocess on uvloop and httptools: Python callbacks, one dict from path to
handler, one write per address and tick. It checks nothing, answers nobody and bounds nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools

from benchmarks.traffic import Sink, Source

Handler = Callable[[str, bytes], None]


def new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def encode(from_pid: str, to_id: str, address: str, name: str, body: bytes) -> bytes:
    """One message frame, as C++ libprocess writes it."""
    head = (
        f"POST /{to_id}/{name} HTTP/1.1\r\n"
        f"User-Agent: libprocess/{from_pid}\r\n"
        f"Libprocess-From: {from_pid}\r\n"
        "Connection: Keep-Alive\r\n"
        f"Host: {address}\r\n"
    )
    if not body:
        return head.encode() + b"\r\n"
    chunked = f"{head}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n"
    return chunked.encode() + body + b"\r\n0\r\n\r\n"


def listen(
    loop: asyncio.AbstractEventLoop, protocol: Callable[[], asyncio.Protocol]
) -> tuple[str, int]:
    server: Any = loop.run_until_complete(loop.create_server(protocol, "127.0.0.1", 0))
    address: tuple[str, int] = server.sockets[0].getsockname()
    return address


class Inbound(asyncio.Protocol):
    """One accepted connection of a Node."""

    def __init__(self, handlers: dict[str, Handler]) -> None:
        self.handlers = handlers
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url = b""
        self.body = b""
        self.sender = ""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name == b"Libprocess-From":
            self.sender = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        handler = self.handlers.get(self.url.decode())
        if handler is not None:
            handler(self.sender, self.body)


class Node:
    """One listening port and one outgoing connection per address, all on one loop."""

    def __init__(self) -> None:
        self.loop = new_loop()
        self.handlers: dict[str, Handler] = {}
        self.local: deque[tuple[str, str, bytes]] = deque()
        self.awake = False
        self.parked: dict[str, list[bytes]] = {}
        self.transports: dict[str, asyncio.Transport] = {}
        ip, port = listen(self.loop, lambda: Inbound(self.handlers))
        self.address = f"{ip}:{port}"

    def send(self, from_pid: str, to: str, name: str, body: bytes) -> None:
        to_id, _, address = to.partition("@")
        if address == self.address:
            self.local.append((f"/{to_id}/{name}", from_pid, body))
            if not self.awake:
                self.awake = True
                self.loop.call_soon(self.drain)
            return
        frames = self.parked.setdefault(address, [])
        if not frames:
            self.loop.call_soon(self.flush, address)
        frames.append(encode(from_pid, to_id, address, name, body))

    def send_threadsafe(self, from_pid: str, to: str, name: str, body: bytes) -> None:
        """To a local process, from another thread: wakes the loop only if nobody has yet."""
        self.local.append((f"/{to.partition('@')[0]}/{name}", from_pid, body))
        if not self.awake:
            self.awake = True
            self.loop.call_soon_threadsafe(self.drain)

    def drain(self) -> None:
        self.awake = False  # before the first look: who appends later wakes us again
        local = self.local
        while local:
            path, from_pid, body = local.popleft()
            self.handlers[path](from_pid, body)

    def flush(self, address: str) -> None:
        transport = self.transports.get(address)
        if transport is None:
            self.loop.create_task(self.dial(address))
        else:
            transport.write(b"".join(self.parked[address]))
            self.parked[address].clear()

    async def dial(self, address: str) -> None:
        ip, _, port = address.partition(":")
        connection = await self.loop.create_connection(asyncio.Protocol, ip, int(port))
        self.transports[address] = connection[0]
        self.flush(address)

    def start_thread(self) -> None:
        threading.Thread(target=self.loop.run_forever, daemon=True).start()


class Actor:
    """A name on a Node, and the paths that lead to its methods."""

    def __init__(self, node: Node, name: str, **handlers: Handler) -> None:
        self.node = node
        self.pid = f"{name}@{node.address}"
        for message, handler in handlers.items():
            node.handlers[f"/{name}/{message}"] = handler

    def send(self, to: str, name: str, body: bytes) -> None:
        self.node.send(self.pid, to, name, body)


class SketchSource(Actor, Source):
    def __init__(self, node: Node, sink: str) -> None:
        super().__init__(node, "source", ack=self.ack)
        self.sink = sink

    def again(self) -> None:
        self.node.loop.call_soon(self.pump)


class SketchSink(Actor, Sink):
    def __init__(self, node: Node) -> None:
        super().__init__(node, "sink", work=self.work)
