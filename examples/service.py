"""A service that ends well: timers, jobs, and a signal while some of them wait."""

import asyncio
import os
import signal

import compactor
from compactor import Process, install


class Queue(Process):
    def initialize(self):
        self.done = 0
        self.report = self.every(0.005, self.tell)  # jobs take longer than that, all in all

    @install("job")
    async def job(self, from_pid, body):
        await asyncio.sleep(0.002)
        self.done += 1

    def tell(self):
        self.report.cancel()
        print("at work")

    def finalize(self):
        print(f"{self.done} jobs done")


async def main(context):
    queue = context.spawn(Queue("queue"))
    await context.ready(queue)
    for number in range(20):
        context.post(queue, "job", b"%d" % number)
    os.kill(os.getpid(), signal.SIGTERM)  # as a service manager does
    await context.wait(queue)


if __name__ == "__main__":
    compactor.run(main, ip="127.0.0.1", drain=10)
