"""A context inside a running asyncio program, with async handlers."""

import asyncio

from compactor import Context, Process, install


class Kitchen(Process):
    @install("order")
    async def order(self, from_pid, body):
        # The next order waits: a process handles one event at a time, even while it awaits.
        await asyncio.sleep(0.01)
        self.send(from_pid, "served", body)


class Guest(Process):
    def __init__(self, name, kitchen):
        super().__init__(name)
        self.kitchen = kitchen
        self.plates = asyncio.Queue()

    def initialize(self):
        for dish in (b"soup", b"bread", b"cake"):
            self.send(self.kitchen, "order", dish)

    @install("served")
    async def served(self, from_pid, body):
        await self.plates.put(body.decode())

    def count(self):
        return self.plates.qsize()


async def main():
    async with Context(ip="127.0.0.1", port=0) as context:
        kitchen = context.spawn(Kitchen("kitchen"))
        guest = Guest("guest", kitchen)
        context.spawn(guest)
        for _ in range(3):
            print("served:", await asyncio.wait_for(guest.plates.get(), 10))
        print("plates left:", await context.dispatch(guest.pid, "count"))


if __name__ == "__main__":
    asyncio.run(main())
