"""A program with one process, which does what lines of JSON on its input say and prints what it
sees: ``python -m tests.reliability.node '{"ip": ...}'``.

Times are those of the monotonic clock, which all programs of a machine share.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import sys
import threading
import time
from typing import Any

from compactor import PID, Context, DeadLetter, Process, Settings, install
from compactor.system import clock

_output = threading.Lock()


def tell(event: str, **fields: Any) -> None:
    """Print one event."""
    with _output:
        print(json.dumps({"event": event, "at": time.monotonic(), **fields}), flush=True)


class Node(Process):
    """Tells its messages, the first 20 bytes of each, and its exits."""

    @install("message")
    def message(self, from_pid: PID, body: bytes) -> None:
        tell("message", sender=str(from_pid), body=body[:20].decode().rstrip("."), size=len(body))

    @install("counted")
    def counted(self, from_pid: PID, body: bytes) -> None:
        self.count += 1
        self.is_in_order = self.is_in_order and int(body[:20].rstrip(b".")) == self.count
        if body.endswith(b"!"):
            tell("counted", count=self.count, in_order=self.is_in_order)

    @install("sleep")
    def sleep(self, from_pid: PID, body: bytes) -> None:
        tell("sleeping")
        time.sleep(float(body))

    def exited(self, pid: PID, reason: Any) -> None:
        tell("exited", pid=str(pid), reason=str(reason))

    count = 0
    is_in_order = True


def lettered(letter: DeadLetter) -> None:
    """Tell a dead letter."""
    tell("letter", reason=str(letter.reason), name=letter.name, size=letter.size)


def obey(context: Context, node: Node, command: dict[str, Any]) -> None:
    """Do what one line says."""
    do = command.pop("do")
    if do == "link":
        node.link(PID.from_string(command["to"]), reconnect=command.get("reconnect", False))
    elif do == "send":
        node.send(PID.from_string(command["to"]), command["name"], command["body"].encode())
    elif do == "count":  # numbered messages in one turn
        to, count, size = PID.from_string(command["to"]), command["count"], command["size"]
        context.dispatch(node.pid, count_to, node, to, count, size, command.get("first", 1))
    elif do == "flood":  # numbered messages, as fast as they leave
        to, count, size = PID.from_string(command["to"]), command["count"], command["size"]
        context.dispatch(node.pid, flood, node, to, count, size)
    elif do == "connections":
        server = context._runtime.server
        tell("connections", count=len(server.connections))
    elif do == "disconnect":
        context.disconnect(PID.from_string(command["to"]))
    elif do == "end":
        node.terminate()
    elif do == "stop":
        context.stop()
    elif do == "delay":
        context.delay(command["seconds"], node.pid, lambda: tell("delayed"))
    else:
        raise ValueError(f"unknown command {do!r}")


def count_to(node: Node, to: PID, count: int, size: int, first: int = 1) -> None:
    """Send that many numbered messages; the last one ends with an exclamation mark."""
    for number in range(first, first + count):
        end = "!" if number == first + count - 1 else "."
        node.send(to, "counted", (str(number).ljust(size - 1, ".") + end).encode())


async def flood(node: Node, to: PID, count: int, size: int) -> None:
    """Send numbered messages, a thousand at a time, while there is room."""
    for first in range(1, count + 1, 1000):
        for number in range(first, first + 1000):
            end = "!" if number == count else "."
            node.send(to, "counted", (str(number).ljust(size - 1, ".") + end).encode())
        await node.drained(to)


def let_the_wall_clock_jump() -> None:
    """Have every look at the wall clock find it a day before or behind."""
    days = itertools.cycle((86_400.0, 0.0, -86_400.0))
    real = time.time
    time.time = clock.date = lambda: real() + next(days)


def main(given: str) -> None:
    """Run until the input ends."""
    options = json.loads(given)
    if "log" in options:
        logging.basicConfig(filename=options["log"], level=logging.DEBUG)
    else:
        logging.disable(logging.WARNING)
    if options.get("clock") == "jumps":
        let_the_wall_clock_jump()
    settings = Settings(**options.get("settings", {}))
    loop = asyncio.new_event_loop() if options.get("loop") == "asyncio" else None
    context = Context(ip=options["ip"], port=options.get("port", 0), settings=settings, loop=loop)
    context.on_dead_letter(lettered)
    node = Node("node")
    context.spawn(node)
    tell("started", pid=str(node.pid), process=os.getpid())
    for line in sys.stdin:
        obey(context, node, json.loads(line))
    context.stop()
    context.join(10)
    tell("stopped")


if __name__ == "__main__":
    main(sys.argv[1])
