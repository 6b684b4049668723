"""A sender that floods a slow receiver: what arrives, what is reported, and what it takes.

``python -m tests.reliability.flood --messages 10000000 --handle 40e-6`` prints one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from compactor import PID, Context, Process, Request, install, route

BODY = bytes(64)
_BURST = 1_000  # messages between two looks at what else there is to do


def resident(os_pid: int | str = "self") -> tuple[int, int]:
    """MiB that a program has in memory, now and at most so far."""
    status = Path(f"/proc/{os_pid}/status").read_text()
    sizes = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if "kB" in line}
    return int(sizes["VmRSS"]) // 1024, int(sizes["VmHWM"]) // 1024


def tell(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


class Slow(Process):
    """Takes its time for each message, and tells how many there were once the last is asked for."""

    def __init__(self, seconds: float) -> None:
        super().__init__("slow")
        self.seconds = seconds
        self.count = 0

    @install("work")
    def work(self, from_pid: PID, body: bytes) -> None:
        self.count += 1
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            pass

    @install("count")
    def tell_count(self, from_pid: PID, body: bytes) -> None:
        self.send(from_pid, "counted", b"%d" % self.count)


class Web(Process):
    """Answers those who do not flood."""

    @route("/ping")
    def ping(self, request: Request) -> str:
        return "pong"


class Flooder(Process):
    """Sends without a pause, or with as many as ``drained`` asks for."""

    def __init__(self, to: PID, messages: int, waits: bool) -> None:
        super().__init__("flooder")
        self.to = to
        self.left = messages
        self.waits = waits

    async def flood(self) -> None:
        for _ in range(min(_BURST, self.left)):
            self.send(self.to, "work", BODY)
        self.left -= min(_BURST, self.left)
        if self.waits:
            await self.drained(self.to)
        if self.left:
            self.context.dispatch(self.pid, self.flood)
        else:
            tell(sent=time.monotonic())
            await self.drained(self.to)
            self.ask()

    def ask(self) -> None:
        """Ask for the count until there is room for the question."""
        self.send(self.to, "count")
        self.context.delay(1.0, self.pid, self.ask)

    @install("counted")
    def counted(self, from_pid: PID, body: bytes) -> None:
        tell(
            handled=int(body),
            letters=dict(self.context.metrics.snapshot()),
            resident=resident(),
        )
        self.context.terminate(self.pid)


def run_receiver(seconds: float) -> None:
    context = Context(ip="127.0.0.1")
    context.spawn(Web("web"))
    tell(pid=str(context.spawn(Slow(seconds))))
    sys.stdin.read()  # until the flood is over
    tell(resident=resident())
    context.stop()


def run_sender(to: str, messages: int, waits: bool) -> None:
    context = Context(ip="127.0.0.1")
    flooder = Flooder(PID.from_string(to), messages, waits)
    context.spawn(flooder)
    tell(started=time.monotonic(), resident=resident())
    context.dispatch(flooder.pid, flooder.flood)
    sys.stdin.read()
    context.stop()


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.reliability.flood", *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def read(program: subprocess.Popen[str]) -> dict[str, Any]:
    assert program.stdout is not None
    line: dict[str, Any] = json.loads(program.stdout.readline())
    return line


def latencies(to: PID, connections: int, rounds: int) -> list[float]:
    """Seconds until each of some requests is answered, on connections of their own, sorted."""
    request = b"GET /web/ping HTTP/1.1\r\nHost: x\r\n\r\n"
    seconds = []
    with contextlib.ExitStack() as opened:
        socks = [
            opened.enter_context(socket.create_connection(to.address, 10))
            for _ in range(connections)
        ]
        for _ in range(rounds):
            for sock in socks:
                begun = time.perf_counter()
                sock.sendall(request)
                answer = b""
                while not answer.endswith(b"pong"):
                    answer += sock.recv(4096)
                seconds.append(time.perf_counter() - begun)
                time.sleep(0.005)
    return sorted(seconds)


def flood(messages: int, handle_seconds: float, waits: bool) -> dict[str, Any]:
    """Flood a receiver, and return what became of it.

    Args:
        messages: how many to send, 64 bytes each.
        handle_seconds: what the receiver takes for each.
        waits: whether the sender waits when it is asked to.
    """
    with contextlib.ExitStack() as running:
        receiver = running.enter_context(start("receive", handle_seconds))
        running.callback(receiver.kill)
        to = PID.from_string(read(receiver)["pid"])
        sender = running.enter_context(start("send", to, messages, int(waits)))
        running.callback(sender.kill)
        started = read(sender)
        meanwhile = latencies(to, 10, 10)
        sent = read(sender)["sent"] - started["started"]
        after = read(sender)
        assert receiver.stdin is not None
        receiver.stdin.close()
        at_receiver = read(receiver)
    letters = after["letters"]
    return {
        "messages": messages,
        "seconds to send": round(sent, 1),
        "handled": after["handled"],
        "dead letters": letters.get("dead_letters/overflow", 0),
        "sender MiB, at the start and at most": [started["resident"][0], after["resident"][1]],
        "receiver MiB at most": at_receiver["resident"][1],
        "others are answered within ms, median and worst of 100": [
            round(meanwhile[50] * 1000, 1),
            round(meanwhile[-1] * 1000, 1),
        ],
    }


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["receive"]:
        run_receiver(float(arguments[1]))
    elif arguments[:1] == ["send"]:
        run_sender(arguments[1], int(arguments[2]), arguments[3] == "1")
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--messages", type=int, default=1_000_000)
        parser.add_argument("--handle", type=float, default=40e-6, help="seconds for each")
        parser.add_argument("--wait", action="store_true", help="the sender waits when asked to")
        given = parser.parse_args(arguments)
        print(json.dumps(flood(given.messages, given.handle, given.wait), indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
