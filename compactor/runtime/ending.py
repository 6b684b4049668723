"""``Ending``: the end of a runtime: what waits is handled, processes end, what was sent leaves."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakValueDictionary

from compactor.actor.asks import Asks
from compactor.actor.slices import Slices
from compactor.errors import Reason
from compactor.inbound.observers import Observers
from compactor.inbound.server import Server
from compactor.metrics.logs import logger
from compactor.net.event_loop import ended_within
from compactor.outbound.connection import PeerConnection
from compactor.outbound.peer import Peer
from compactor.pid import PID, Address
from compactor.runtime.drain import Drain, refuse_asks, tell_dropped
from compactor.runtime.failures import Failures
from compactor.runtime.leaving import Leaving
from compactor.runtime.life import ENDING
from compactor.runtime.pages import Pages
from compactor.runtime.readiness import Readiness
from compactor.runtime.registry import Registry
from compactor.runtime.watches import Watches
from compactor.settings import Settings

log = logger("context")

_ACCEPTING_TURNS = 4  # of asyncio's loop, from accepting a connection to aborting it
# asyncio drops, unclosed, a connection that it accepted in the turn before its server is closed.
# A timer, unlike sleep(0), comes after the sockets of a turn, so nothing is in that state then.
_AFTER_SOCKETS = 1e-6
_LOOK = 0.005  # seconds between two looks for answers that come from nobody who is busy


class Ending(Failures):
    """The part of ``Runtime`` that ends all others."""

    asks: Asks
    drain: Drain
    leaving: Leaving
    observers: Observers
    outgoing: dict[PeerConnection, None]
    pages: Pages
    peers: WeakValueDictionary[Address, Peer]
    readiness: Readiness
    registry: Registry
    server: Server
    settings: Settings
    slices: Slices
    watches: Watches

    _ended: asyncio.Event
    _is_silent: bool

    def abandon(self) -> None:
        """End everything at once, and report what is lost: nobody will run this loop again."""
        self.life.reach(ENDING)
        self._is_silent = True
        self.slices.close()
        for mailbox in list(self.registry.live.values()):
            mailbox.abandon(Reason.STOPPED)
        self.pages.abandon()
        self.server.close()
        self._abort_connections()
        self.watches.abandon()
        self.readiness.abandon()
        self.asks.abandon()

    def _abort_connections(self) -> None:
        for peer in list(self.peers.values()):
            peer.abort(Reason.STOPPED)
        for connection in list(self.outgoing):
            connection.abort()
        self.server.abort()

    async def handle_what_waits(self) -> None:
        """Take nothing more from outside, and handle what was taken, in the time of the drain."""
        if self.drain.seconds > 0:
            await self.leaving.run(self.drain.seconds)
            await asyncio.sleep(_AFTER_SOCKETS)
            self.server.refuse_new()
            self.observers.say_farewell()
            await self.drain.finish()

    def _left(self) -> list[asyncio.Future[None]]:
        """What a drain waits for once no process has anything to do."""
        left: list[asyncio.Future[None]] = [*self.observers.farewells.left()]
        if not left and self.asks.are_open_here:  # an answer comes later, from a timer or thread
            left.append(asyncio.ensure_future(asyncio.sleep(_LOOK)))
        return left

    async def stop(self) -> None:
        """End all processes, let messages and answers leave, close all sockets."""
        self.life.reach(ENDING)
        self.slices.close()
        linger = self.settings.linger
        self._ended = asyncio.Event()
        lost = self.drain.lost
        lost += tell_dropped(self.registry.live.values(), len(self.supervision.running()))
        if self.drain.seconds > 0:
            for mailbox in list(self.registry.live.values()):
                refuse_asks(mailbox, self.message_dropped)
            await asyncio.sleep(_AFTER_SOCKETS)  # they hear of that before they hear of ends
        for mailbox in list(self.registry.live.values()):
            mailbox.terminate(inject=True)
        self.pages.close()
        if self.registry.live:
            await _within(linger, self._ended.wait())
        for mailbox in list(self.registry.live.values()):
            log.warning("process %s did not end within %s s", mailbox.pid, linger)
            lost.append(f"{mailbox.pid}: its finalize() has not ended")
            mailbox.abandon(Reason.STOPPED)
        self._is_silent = True
        peers = list(self.peers.values())
        leaving = [p.finish() for p in peers] + [c.ended for c in self.outgoing]
        if leaving:
            await _within(linger, asyncio.gather(*leaving, return_exceptions=True))
        for peer in peers:
            if peer.send_queue.parked:
                to = PID(*peer.address, "").host
                lost.append(f"{peer.send_queue.parked} messages to {to} have not left")
        await asyncio.sleep(_AFTER_SOCKETS)
        self.server.close()
        await _within(linger, self.server.answered())
        self._abort_connections()
        for _ in range(_ACCEPTING_TURNS):
            await asyncio.sleep(0)


async def _within(seconds: float, awaitable: Any) -> None:
    if not await ended_within(seconds, awaitable):
        log.info("gave up after %s s while stopping", seconds)
