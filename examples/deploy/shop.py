"""What all files of this folder run: workers that answer messages, and requests of browsers."""

from __future__ import annotations

import os

from compactor import PID, Context, Process, Request, answer
from compactor.workers import Worker


class Orders(Process):
    """Counts orders.  Each worker has one of these, and knows its own alone."""

    def __init__(self) -> None:
        super().__init__("orders")
        self.taken = 0

    @answer("order")
    async def order(self, from_pid: PID, body: bytes) -> bytes:
        self.taken += 1
        return b"%d of OS process %d" % (self.taken, os.getpid())

    @Process.route("/page")
    def page(self, request: Request) -> str:
        return f"{self.taken} orders were taken here\n"


async def make(context: Context, worker: Worker) -> None:
    """Fill one worker."""
    context.spawn(Orders())
