"""``AskWays``: the messages of asks and answers, in the shortest form that arrives where they go.

To strangers an ask is a message from a pid of its own, as libprocess sends it, and its answer one
to that pid.  Each has a head of its own, then, which takes either side longer than all else of it.
So a compactor is asked, on the connection that leads there, whether it sees what stands behind the
size of a chunk, for proxies take that away.  Once it has said so, the number of the ask stands
there, and heads repeat: an ask comes from whoever asks, and an answer is for ``__req_res__``, as
nobody is called.  So no handler takes an answer for a message, even if its number is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from compactor.actor.mailbox import Mailbox
from compactor.errors import Reason
from compactor.metrics.dead_letters import DeadLetter
from compactor.metrics.metrics import Metrics
from compactor.outbound.peer import Peer
from compactor.outbound.send_queue import ASKED, TAKEN
from compactor.pid import PID, Address, Temporary, number_in
from compactor.wire.encoder import TypedName, message_prefix
from compactor.wire.notices import numbers_prefix

from ..actor.inquiry import Answering
from ..pid import temporary_at

_ANSWERED = "__req_res__"  # the id that answers with a number are sent to
_MAX_WAYS = 1024  # beginnings of frames that are remembered

_Way = tuple[Peer, bytes]


class WaysOwner(Protocol):
    """Who has the peers: the runtime of a context."""

    metrics: Metrics

    def undialable(self, to: PID) -> Reason | None: ...
    def peer(self, address: Address) -> Peer: ...
    def send_locally(self, sender: PID, to: PID, name: str, body: bytes) -> None: ...


class AskWays:
    """The ways of asks, and of answers to other addresses.

    Args:
        here: a pid of this context without an id.
        owner: has the peers.
        is_told: whether the compactor at an address has asked for our notices.
        live: the mailbox of each live process, by id.
        max_events: that may wait in one of them.
    """

    def __init__(
        self,
        here: PID,
        owner: WaysOwner,
        is_told: Callable[[Address], bool],
        live: dict[str, Mailbox],
        max_events: int,
    ) -> None:
        self._here = here
        self._ip = here.ip
        self._port = here.port
        self._live = live
        self._max_events = max_events
        self._owner = owner
        self._is_told = is_told
        self._ways: dict[tuple[str, str, str, int, str], _Way] = {}

    def ask(
        self, asker: PID | None, number: int, to: PID, name: str, body: bytes
    ) -> Mailbox | None:
        """Send the message of an ask.

        Args:
            asker: the process that asks; None if that is none.
            number: that of the ask.
            to: any pid, of this context as well.

        Returns:
            The mailbox of who was asked; None if that is nobody here.
        """
        target = to
        if target.port == self._port and target.ip == self._ip:
            return self._ask_here(asker, number, to, name, body)
        if not self._write(asker or self._here, to, b"a", number, name, body):
            temporary = temporary_at(self._here, number, asker)
            self._write_otherwise(temporary, to, name, body)
        return None

    def _ask_here(
        self, asker: PID | None, number: int, to: PID, name: str, body: bytes
    ) -> Mailbox | None:
        """Send the message of an ask to a process of this context."""
        sender = temporary_at(self._here, number, asker)
        target = to
        if type(name) is not str:
            name = str(name)
        mailbox = self._live.get(target.id)
        if mailbox is not None and len(mailbox.queue) < self._max_events:
            call = mailbox.call_for(name)
            if type(call) is Answering:
                mailbox.put_message(call, sender, body)
                return mailbox
        self._owner.send_locally(sender, to, name, body)
        return mailbox

    def answer(self, sender: PID, to: PID, name: str, body: bytes) -> None:
        """Send an answer to a temporary pid."""
        number = number_in(to)
        if number < 0 or not self._write(sender, to, b"r", number, name, body):
            self._write_otherwise(sender, to, name, body)

    def answer_shortly(self, sender: PID, to: PID, name: str, body: bytes) -> bool:
        """Send an answer on a connection that takes numbers; False if none is known to be open."""
        source, target = sender, to
        exact = name.key if type(name) is TypedName else name
        way = self._ways.get((source.id, _ANSWERED, target.ip, target.port, exact))
        if way is None:
            return False
        queue = way[0].send_queue
        if queue.numbers != TAKEN:
            return False
        number = to.number if type(to) is Temporary else number_in(to)
        return number >= 0 and queue.write_numbered(way[1], b"r", number, body)

    def _write(
        self, sender: PID, to: PID, kind: bytes, number: int, name: str, body: bytes
    ) -> bool:
        """Write a message with a number; False if that is not known to arrive."""
        source, target = sender, to
        id_ = target.id if kind == b"a" else _ANSWERED
        exact = name.key if type(name) is TypedName else name
        key = source.id, id_, target.ip, target.port, exact
        way = self._ways.get(key)
        if way is None:
            if self._owner.undialable(to) is not None:
                return False
            peer = self._owner.peer(to.address)
            way = peer, message_prefix(sender, PID(to.ip, to.port, id_), name)
            if len(self._ways) >= _MAX_WAYS:
                self._ways.clear()
            self._ways[key] = way
        peer, prefix = way
        queue = peer.send_queue
        if queue.numbers == TAKEN:
            return queue.write_numbered(prefix, kind, number, body)
        if not queue.numbers and (peer.links.is_told or self._is_told(to.address)):
            queue.numbers = ASKED
            queue.write_numbered(numbers_prefix(self._here, to), b"a", 0, b"-")
        return False

    def _write_otherwise(self, sender: PID, to: PID, name: str, body: bytes) -> None:
        """Write a message as libprocess does."""
        reason = self._owner.undialable(to)
        if reason is not None:
            letter = DeadLetter(reason, to, sender, str(name), len(body))
            self._owner.metrics.dead_letter(letter)
            return
        queue = self._owner.peer(to.address).send_queue
        queue.write_message(message_prefix(sender, to, name), body)
