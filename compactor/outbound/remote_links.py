"""``RemoteLinks``: the links to one address; what its peer is asked for them, and what it tells.

A peer that is a compactor tells of its processes on a stream of notices; a libprocess answers that
it has no such thing.  Which of the two a peer is shows when it is first asked.  Until then nothing
is written behind a link, so that the link keeps its place among the messages.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Iterable, Iterator, Sized
from contextvars import Context
from typing import TYPE_CHECKING, Protocol

from compactor.actor.run_queue import RunQueue
from compactor.errors import Reason, RemoteProtocolError
from compactor.metrics.dead_letters import DeadLetter
from compactor.metrics.metrics import Metrics
from compactor.outbound.dial import dial
from compactor.outbound.notice_connection import NoticeConnection
from compactor.outbound.pace import Pace
from compactor.outbound.reasons import why_not_dialled
from compactor.outbound.send_queue import BROKE, SendQueue
from compactor.pid import PID, Address
from compactor.settings import Settings
from compactor.system.system import system
from compactor.wire import notices

if TYPE_CHECKING:
    from compactor.tls.credentials import Tls

_MAX_HOLD = 0.5  # seconds that messages wait behind a link until the kind of the peer is known
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 15.0  # seconds between attempts to have notices
_MAX_PATIENCE = 5.0  # seconds of such attempts, once there were notices, until links exit
_LOOK = 0.005  # seconds between two looks at what a peer that is about to stop has to answer
_BATCH = 256  # links that are asked for at a time, when there are many


class Asked(Protocol):
    """A process that was asked.

    Attributes:
        waiting: what it has not answered.
    """

    @property
    def waiting(self) -> Sized: ...


class WatchOwner(Protocol):
    """Who knows the watchers of an address, and tells them."""

    def watched_at(self, address: Address) -> list[PID]: ...
    def exited(self, address: Address, id_: str, reason: Reason, detail: str = "") -> None: ...
    def lost(self, address: Address, reason: Reason) -> None: ...


class AskOwner(Protocol):
    """Who knows what was asked, and is not answered."""

    leaving: set[Address]

    def close(self, address: Address) -> Iterable[Asked]: ...
    def has_left(self, address: Address) -> None: ...
    def is_back(self, address: Address) -> None: ...


class LinkOwner(Protocol):
    """What links ask of whoever has them: the runtime of a context."""

    ip: str
    port: int
    metrics: Metrics
    pace: Pace
    run_queue: RunQueue
    settings: Settings
    tls: Tls | None

    @property
    def asks(self) -> AskOwner: ...
    @property
    def watches(self) -> WatchOwner: ...


def _new_name() -> str:
    """The name of a stream; whoever knows it may link for us."""
    return system().random_bytes(16).hex()


class RemoteLinks:
    """The links to one address, as long as there is a connection to it.

    Args:
        address: of the peer.
        send_queue: leads there.
        owner: has the links, and hears of exits.
    """

    def __init__(self, address: Address, send_queue: SendQueue, owner: LinkOwner) -> None:
        self._address = address
        self._send_queue = send_queue
        self._owner = owner
        self._loop = owner.run_queue.loop
        self._name = _new_name()
        self._is_foreign = False
        self._is_open = False  # whether there is, or was, a stream
        self._is_connected = False
        self._may_hold = True
        self._asked: set[str] = set()  # ids that the peer is to tell of
        self._marks: dict[str, str] = {}  # which of all processes of an id it is that lives
        self._refused = 0
        self._draining = ""  # the sender of an ask that was not handled, as the next notice says
        self._connection: NoticeConnection | None = None
        self._asking: asyncio.Task[None] | None = None
        self._until_release: asyncio.TimerHandle | None = None

    @property
    def is_told(self) -> bool:
        """Whether the peer tells of its processes now, which a compactor does."""
        return self._is_open and self._connection is not None

    def link(self, id_: str) -> None:
        """Have the peer tell of a process, once, in its place among the messages."""
        if self._is_foreign or id_ in self._asked:
            return
        if not self._is_open:
            if not self._may_hold:
                return  # it is asked for once there is a stream
            self._send_queue.hold()
        self._ask_for(id_)
        if self._is_connected:
            self._start()

    def connected(self) -> None:
        """There is a connection for messages."""
        self._is_connected = True
        if self._asked:
            self._start()

    def disconnected(self, forget: bool) -> None:
        """There is none any more; another one begins from the start.

        Args:
            forget: whether no link is left over for that.
        """
        self._is_connected = False
        self._name = _new_name()
        self._reset()
        if forget:
            self._marks.clear()

    def release(self) -> None:
        """Have all messages leave: the context stops."""
        self._may_hold = False
        self._drop_asked()

    def _reset(self) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
        if self._connection is not None:
            self._connection.drop()
            self._connection = None
        self._is_foreign = self._is_open = False
        self._may_hold = True
        self._refused = 0
        self._owner.asks.has_left(self._address)
        self._drop_asked()

    def _ask_for(self, id_: str) -> None:
        owner = self._owner
        to = PID(*self._address, id_)
        self._asked.add(id_)
        frame = notices.link_frame(PID(owner.ip, owner.port, ""), to, self._name)
        self._send_queue.write_link(frame)

    def _drop_asked(self) -> None:
        """Ask for nothing that was not asked for yet, and hold nothing back for it."""
        if self._until_release is not None:
            self._until_release.cancel()
            self._until_release = None
        self._asked.clear()
        self._send_queue.drop_links()
        self._send_queue.release()

    def _give_up_holding(self) -> None:
        self._may_hold = False
        self._drop_asked()

    # Asking for notices

    def _start(self) -> None:
        if self._asking is None:
            # Without the context variables of whoever linked first.
            self._asking = Context().run(self._loop.create_task, self._ask())
            self._until_release = self._loop.call_later(_MAX_HOLD, self._give_up_holding)

    async def _ask(self) -> None:
        """Ask for notices, and again whenever they are cut."""
        loop = self._loop
        await asyncio.sleep(self._owner.pace.pause((self._address, "notices"), loop.time()))
        pause, cut = 0.0, math.inf
        while True:
            begun = loop.time()
            connection, reason = await self._follow()
            now = loop.time()
            if connection is not None and connection.is_open:
                cut = now
                if now - begun > _LONGEST_PAUSE:
                    pause = 0.0
            elif connection is not None and connection.answer is not None and cut == math.inf:
                status, fields, _ = connection.answer
                if notices.refuses_sender(status, fields):
                    self._lose(Reason.SENDER_REFUSED)
                    return
                if status < 500:  # else a proxy may say that the peer is not there right now
                    self._asking = None
                    self._is_foreign = True
                    self._drop_asked()
                    return
            elif connection is not None and cut == math.inf:  # it took a request for nothing
                if not (self._send_queue.written or pause):
                    self._send_queue.probe()
            elif now - cut > min(self._owner.settings.connect_timeout, _MAX_PATIENCE):
                self._lose(reason)
                return
            await asyncio.sleep(pause)
            pause = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)

    async def _follow(self) -> tuple[NoticeConnection | None, Reason]:
        """Ask once; return when that is over, with the connection if there was one."""
        owner, settings = self._owner, self._owner.settings
        request = notices.request(
            PID(*self._address, "").host, PID(owner.ip, owner.port, ""), self._name
        )

        def make() -> NoticeConnection:
            # At once: the answer may be there before this task hears that it has connected.
            made = NoticeConnection(
                self._address, request, self, owner.run_queue, settings.peer_timeout
            )
            self._connection = made
            return made

        try:
            connection = await dial(
                self._loop,
                self._address,
                make,
                settings.connect_timeout,
                owner.tls,
                settings.local_handover,
            )
        except (OSError, UnicodeError, asyncio.TimeoutError) as error:
            return None, why_not_dialled(error)
        await asyncio.shield(connection.ended)
        return connection, Reason.CLOSED

    def _lose(self, reason: Reason) -> None:
        """The peer will not tell of its processes, though it could."""
        self._asking = None
        self._reset()
        self._marks.clear()
        self._owner.watches.lost(self._address, reason)

    # What the peer tells

    def opened(self) -> None:
        """There is a stream."""
        if self._is_open or not self._send_queue.is_held:
            self._asked.clear()  # nothing that was asked for on another one holds for this one
            self._send_queue.drop_links()
        self._is_open = True
        self._owner.asks.is_back(self._address)
        if self._send_queue.numbers == BROKE:  # but who tells of processes is a compactor
            self._send_queue.numbers = 0
        self._send_queue.unanswered = None  # it answers nothing that it is not to
        if self._until_release is not None:
            self._until_release.cancel()
            self._until_release = None
        self._send_queue.release()
        watched = self._owner.watches.watched_at(self._address)
        self._ask_for_some(iter([pid.id for pid in watched]), self._connection)

    def _ask_for_some(self, ids: Iterator[str], on: NoticeConnection | None) -> None:
        if on is not self._connection or not self._is_open:
            return
        some = list(itertools.islice(ids, _BATCH))
        for id_ in some:
            if id_ not in self._asked:
                self._ask_for(id_)
        if some:
            self._loop.call_soon(self._ask_for_some, ids, on)

    def not_understood(self, error: RemoteProtocolError) -> None:
        """What has come is nonsense; the connection ends."""
        self._owner.metrics.peer_trouble("no notices are understood of", self._address, error)

    def noticed(self, notice: list[str]) -> None:
        """A notice has come; one that is not known here is for later versions."""
        word, *values = notice
        if word == notices.LIVES and len(values) >= 2:
            self._lives(values[0], values[1])
        elif word == notices.EXITED and len(values) >= 2:
            self._exited(*values[:3])
        elif word == notices.REFUSED and len(values) >= 3:
            self._message_refused(*values[:4])
        elif word == notices.DRAINING:
            self._draining = values[0] if values else ""
            if not values and self._address not in self._owner.asks.leaving:
                self._say_farewell()
                self._say_when_answered(self._owner.asks.close(self._address), self._connection)

    def _lives(self, id_: str, mark: str) -> None:
        if id_ not in self._asked or len(mark) > notices.MAX_MARK:
            return
        before = self._marks.get(id_, mark)
        self._marks[id_] = mark
        if before != mark:  # the one that was linked has ended while the stream was cut
            self._owner.watches.exited(self._address, id_, Reason.TERMINATED)

    def _exited(self, id_: str, text: str, detail: str = "") -> None:
        if id_ not in self._asked:
            return
        self._asked.discard(id_)
        reason = _named(text, Reason.TERMINATED)
        if self._marks.pop(id_, None) is not None and reason is Reason.NO_PROCESS:
            reason = Reason.TERMINATED  # while the stream was cut
        told = detail[: notices.MAX_DETAIL].encode("utf-8", "surrogateescape")
        detail = told.decode("utf-8", "replace")  # whoever prints it need not be careful
        self._owner.watches.exited(self._address, id_, reason, detail)

    def _message_refused(self, id_: str, name: str, text: str, sender: str = "") -> None:
        self._refused += 1
        if self._refused <= self._send_queue.written:  # peers may say anything
            try:
                to = PID(*self._address, id_)
            except ValueError:
                to = PID(*self._address, "")
            reason = _named(text, Reason.REJECTED)
            if sender and sender == self._draining:
                reason = Reason.DRAINING
            self._draining = ""
            by = self._pid_here(sender)
            self._owner.metrics.dead_letter(DeadLetter(reason, to, by, name))

    def _say_farewell(self) -> None:
        """Tell a peer that is about to stop that it is asked nothing more; then, that it has
        answered all.
        """
        owner = self._owner
        nobody = PID(*self._address, "")
        frame = notices.link_frame(PID(owner.ip, owner.port, ""), nobody, self._name)
        self._send_queue.write_link(frame)

    def _say_when_answered(self, asked: Iterable[Asked], on: NoticeConnection | None) -> None:
        # Asks are told from time to time: each answer would have to look otherwise.
        left = [each for each in asked if each.waiting]
        if on is not self._connection:
            return
        if left:
            self._loop.call_later(_LOOK, self._say_when_answered, left, on)
        else:
            self._say_farewell()

    def _pid_here(self, id_: str) -> PID | None:
        try:
            return PID(self._owner.ip, self._owner.port, id_) if id_ else None
        except ValueError:
            return None


def _named(text: str, otherwise: Reason) -> Reason:
    try:
        return Reason(text)
    except ValueError:
        return otherwise
