"""xoscar: `sink`, `source ADDRESS`, `batches ADDRESS`, `pinger ADDRESS`, `asker ADDRESS`, and
`local`, which calls an actor of its own program.

Prints lines of JSON: a sink its address and then its running count, a pinger its round trips, who
asks their running count.
"""

import asyncio
import sys

import xoscar
from reporting import count_trips, say, time_trips

BODY = b"x" * 64
BATCH = 1_000
EVERY = 500  # messages between two reports of the count
ASKS = 1_000  # under way


class Sink(xoscar.Actor):
    def __init__(self):
        self.count = 0

    def received(self, number):
        before, self.count = self.count, self.count + number
        if before // EVERY != self.count // EVERY:
            say(self.count)

    @xoscar.extensible
    async def work(self, body):
        self.received(1)

    @work.batch
    async def work(self, args, kwargs):
        self.received(len(args))
        return [None] * len(args)

    async def ping(self, body):
        return body


async def serve():
    pool = await xoscar.create_actor_pool("127.0.0.1:0", n_process=0)
    await xoscar.create_actor(Sink, address=pool.external_address, uid="sink")
    say(pool.external_address)
    await pool.join()


async def flood(sink):
    while True:
        for _ in range(BATCH - 1):
            await sink.work.tell(BODY)
        await sink.work(BODY)  # the answer holds the source back


async def flood_in_batches(sink):
    while True:
        for _ in range(9):
            await sink.work.batch(*[sink.work.delay(BODY) for _ in range(BATCH)], send=False)
        await sink.work.batch(*[sink.work.delay(BODY) for _ in range(BATCH)])


async def ping(sink):
    await time_trips(lambda: sink.ping(BODY))


async def ask(sink):
    await count_trips(lambda: sink.ping(BODY), ASKS)


async def ask_here():
    pool = await xoscar.create_actor_pool("127.0.0.1:0", n_process=0)
    await xoscar.create_actor(Sink, address=pool.external_address, uid="sink")
    sink = await xoscar.actor_ref(pool.external_address, "sink")  # which calls it past the pool
    await count_trips(lambda: sink.ping(BODY), 1)


async def call(role, address):
    await role(await xoscar.actor_ref(address, "sink"))


ROLES = {"source": flood, "batches": flood_in_batches, "pinger": ping, "asker": ask}
if sys.argv[1] == "sink":
    asyncio.run(serve())
elif sys.argv[1] == "local":
    asyncio.run(ask_here())
else:
    asyncio.run(call(ROLES[sys.argv[1]], sys.argv[2]))
