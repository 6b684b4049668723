"""``Observers``: which other compactors watch which processes of one context, and tell them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Container, Iterator

from compactor.actor.slices import Slices
from compactor.errors import Reason
from compactor.inbound.farewells import Farewells
from compactor.inbound.notice_stream import NoticeStream, NoticeTurns, Watched
from compactor.pid import PID, Address
from compactor.system.system import system
from compactor.wire.notices import EXITED, LIVES


class Observers:
    """The streams of one context.

    Args:
        live: has the id of each live process.
        slices: there may be many streams for one process, and many processes for one stream.
        max_links: processes that are watched, each counted for each stream that tells of it.

    Attributes:
        watched: what is watched, by id; empty if nobody watches anything.
        farewells: who is told that the context is about to stop.
    """

    def __init__(self, live: Container[str], slices: Slices, max_links: int) -> None:
        self.farewells = Farewells()
        self._live = live
        self._slices = slices
        self._max_links = max_links
        self._links = 0
        self._turns = NoticeTurns(slices)
        self._streams: dict[bytes, NoticeStream] = {}
        self._at: dict[Address, NoticeStream] = {}
        self.watched: dict[str, Watched] = {}  # live processes only
        # A process that ends while a stream is cut may have a successor of the same id, also in
        # another program on the same port; their marks differ.
        self._marks = (f"{system().random_bytes(8).hex()}.{number}" for number in itertools.count())

    def open(
        self,
        name: bytes,
        at: Address | None,
        transport: asyncio.Transport,
        interval: float,
        wrote: Callable[[], None],
        cut: Callable[[str], None],
    ) -> NoticeStream:
        """Tell what is asked for in this name on a connection; an older stream of the name ends.

        Args:
            name: of the stream.
            at: where its asker listens; None if it is not known to.
            transport, interval, wrote, cut: as for ``NoticeStream``.
        """
        older = self._streams.get(name)
        stream = self._streams[name] = NoticeStream(transport, self._turns, interval, wrote, cut)
        if older is not None:
            self._forget(older)
            older.cut()
        stream.at = at
        if at is not None:
            self._at[at] = stream
        self.farewells.late(stream)
        return stream

    def say_farewell(self) -> None:
        """Tell all of them that the context takes no more asks."""
        self._slices.work(self.farewells.begin(self._streams.values()))

    def closed(self, name: bytes, stream: NoticeStream) -> None:
        """The connection of a stream is lost."""
        stream.close()
        self.farewells.ended(stream)
        if self._streams.get(name) is stream:
            del self._streams[name]
        if stream.at is not None and self._at.get(stream.at) is stream:
            del self._at[stream.at]
        self._forget(stream)

    def stream(self, name: bytes) -> NoticeStream | None:
        """The open stream of a name."""
        return self._streams.get(name)

    def is_told(self, address: Address) -> bool:
        """Whether there is a stream for an address, whose IP address is known to be true."""
        return address in self._at

    def refused(self, sender: PID, id_: str, name: str, reason: Reason) -> None:
        """A message was taken, but not handled: tell the address of its sender, if it is told."""
        stream = self._at.get(sender.address)
        if stream is not None:
            stream.refused(id_, name, reason, sender.id)

    def watch(self, id_: str, stream: NoticeStream) -> bool:
        """Tell on a stream whether a process lives, and once when it ends.

        Returns:
            Whether that is so; if there are too many to be told of, the stream says so, too.
        """
        if not id_ and self.farewells.is_begun:
            self.farewells.said(stream)
            return True
        watched = self.watched.get(id_)
        before = stream.observed.get(id_)
        if before is not None and before is not watched:
            before.tell_end(stream)  # which it has not heard of yet
            self._links -= 1
        if id_ not in self._live:
            stream.tell(EXITED, id_, Reason.NO_PROCESS.value)
            return True
        if watched is None:
            watched = self.watched[id_] = Watched(id_, next(self._marks))
        if stream not in watched.streams:
            if self._links >= self._max_links:
                stream.tell(EXITED, id_, Reason.OVERFLOW.value)
                return False
            self._links += 1
            watched.streams[stream] = None
            stream.observed[watched.id] = watched
        stream.tell(LIVES, id_, watched.mark)
        return True

    def ended(self, id_: str, reason: Reason = Reason.TERMINATED, detail: str = "") -> None:
        """A process has ended; the detail says why it failed, if it did."""
        watched = self.watched.pop(id_, None)
        if watched is not None:
            if reason is not Reason.TERMINATED:
                watched.end = (reason.value, detail)
            self._slices.work(self._tell_ends(watched))

    def _forget(self, stream: NoticeStream) -> None:
        observed, stream.observed = stream.observed, {}
        if observed:
            self._slices.work(self._unwatch(stream, observed))

    def _tell_ends(self, watched: Watched) -> Iterator[None]:
        while watched.streams:
            watched.tell_end(watched.streams.popitem()[0])
            self._links -= 1
            yield

    def _unwatch(self, stream: NoticeStream, observed: dict[str, Watched]) -> Iterator[None]:
        while observed:
            streams = observed.popitem()[1].streams
            if stream in streams:
                del streams[stream]
                self._links -= 1
            yield
