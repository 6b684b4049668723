"""casty, for Python 3.12 and later: `sink`, `source ADDRESS`, `pinger ADDRESS`, `asker ADDRESS`,
and `local`, which asks an actor of its own program.

Prints lines of JSON: a sink its address and then its running count, a pinger its round trips, who
asks their running count.
"""

import asyncio
import socket
import sys
from collections import deque
from dataclasses import dataclass

from casty import ActorSystem, Askable, Client, Cluster, Context, actor
from reporting import count_trips, say, time_trips

BODY = b"x" * 64
BURST = 2_000  # messages between two questions; the answers hold the source back
WINDOW = 10  # bursts under way
ASKS = 1_000  # under way


@dataclass(frozen=True)
class Work:
    body: bytes


@dataclass(frozen=True)
class Ping(Askable[bytes]):
    body: bytes = b""


@actor(initial=0)
async def sink(ctx: Context[int, Work | Ping]) -> None:
    count = 0
    async for message in ctx.inbox:
        match message:
            case Work():
                count += 1
                if count % BURST == 0:
                    say(count)
            case Ping(body):
                message.reply_to.tell(body)


async def serve():
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    async with ActorSystem(cluster=Cluster(bind=address)):
        say(address)
        await asyncio.Event().wait()


async def flood(client):
    to = client.ref(sink, "sink")
    work = Work(BODY)
    answers = deque()
    while True:
        for _ in range(BURST):
            to.tell(work)
        answers.append(asyncio.ensure_future(to.ask(Ping())))
        if len(answers) >= WINDOW:
            await answers.popleft()


async def ping(client):
    to = client.ref(sink, "sink")
    message = Ping(BODY)
    await time_trips(lambda: to.ask(message))


async def ask(client):
    to = client.ref(sink, "sink")
    message = Ping(BODY)
    await count_trips(lambda: to.ask(message), ASKS)


async def ask_here():
    async with ActorSystem() as system:
        to = system.ref(sink, "sink")
        message = Ping(BODY)
        await count_trips(lambda: to.ask(message), 1)


async def call(role, address):
    async with Client(seeds=(address,)) as client:
        await role(client)


if sys.argv[1] == "sink":
    asyncio.run(serve())
elif sys.argv[1] == "local":
    asyncio.run(ask_here())
else:
    roles = {"source": flood, "pinger": ping, "asker": ask}
    asyncio.run(call(roles[sys.argv[1]], sys.argv[2]))
