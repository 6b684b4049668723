"""What tests of workers have workers do."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import time
from typing import Any

from compactor import PID, Context, Process, answer
from compactor.workers import Worker
from compactor.workers.lines import Line


class Part(Process):
    """Does what it is asked, in the OS process of a worker."""

    def __init__(self, worker: Worker) -> None:
        super().__init__("part")
        self.worker = worker

    @answer("who")
    def who(self, from_pid: PID, body: bytes) -> bytes:
        worker = self.worker
        return f"{worker.number} of {worker.count}, {worker.generation}, {os.getpid()}".encode()

    @answer("work")
    def work(self, from_pid: PID, body: bytes) -> bytes:
        until = time.thread_time() + float(body)  # of the CPU
        while time.thread_time() < until:
            pass
        return body

    @answer("end")
    def end(self, from_pid: PID, how: bytes) -> None:
        if how == b"kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == b"block":
            time.sleep(60)
        elif how == b"stop":
            os.kill(os.getpid(), signal.SIGSTOP)

    @answer("pipe")
    def pipe(self, from_pid: PID, content: bytes) -> bytes:
        """Write something to the parent that no worker writes, or end that way."""
        line = next(each for each in gc.get_objects() if isinstance(each, Line))
        end = socket.socket(fileno=os.dup(line._connection.fileno()))
        end.sendall(content)
        if not content:
            end.shutdown(socket.SHUT_WR)
        return b""

    @answer("drop")
    def drop(self, from_pid: PID, count: bytes) -> bytes:
        line = next(each for each in gc.get_objects() if isinstance(each, Line))
        line.dropped += int(count)
        return b""

    @answer("fork")
    def fork(self, from_pid: PID, body: bytes) -> bytes:
        child = os.fork()
        if not child:
            time.sleep(600)
            os._exit(0)
        return b"%d" % child

    @answer("log")
    def log(self, from_pid: PID, body: bytes) -> None:
        try:
            raise LookupError("no planet")
        except LookupError:
            logging.getLogger("shop").exception("looked for %s", body.decode())


async def make(context: Context, worker: Worker) -> None:
    context.spawn(Part(worker))


async def make_late(context: Context, worker: Worker) -> None:
    await asyncio.sleep(3600)


async def make_and_end(context: Context, worker: Worker) -> None:
    os._exit(3)


async def make_nothing(context: Context, worker: Worker) -> None:
    raise LookupError("there is no shop")


def make_at_once(context: Context, worker: Worker) -> None:
    return None


no_function: Any = 5
