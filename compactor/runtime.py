"""``Runtime``: the state of one context on its loop; it joins processes, links, peers and server.

All of it is touched on the loop's thread, except ``live``, in which any thread may look up or
claim an id.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from weakref import WeakValueDictionary

from compactor.errors import InvalidProcess, Reason, RemoteProtocolError
from compactor.flow import released_by
from compactor.frames import link_frame, message_prefix
from compactor.handlers import handler_table
from compactor.heads import Head
from compactor.links import Links
from compactor.losses import Losses
from compactor.mailbox import Entry, Mailbox
from compactor.messages import Exited, Initialization, serve
from compactor.metrics import DeadLetter, Metrics
from compactor.peer_connection import PeerConnection
from compactor.peers import Frames, Peer
from compactor.pid import PID, Address
from compactor.process import Process, bind_handler, bind_route
from compactor.protobuf import DoesNotParse
from compactor.routes import Call, RouteTable, split_path
from compactor.server import Server
from compactor.server_connection import ServerConnection
from compactor.settings import Settings
from compactor.tls import Tls
from compactor.wire import Backend

log = logging.getLogger("compactor")

_ACCEPTING_TURNS = 4  # of asyncio's loop, from accepting a connection to aborting it
# asyncio drops, unclosed, a connection that it accepted in the turn before its server is closed.
# A timer, unlike sleep(0), comes after the sockets of a turn, so nothing is in that state then.
_AFTER_SOCKETS = 1e-6


class Runtime:
    """Everything that one context does on its loop.

    Args:
        address: the advertised (ip, port).
        settings: the bounds.
        delegate: id of the process that serves requests to unknown paths, or empty.
        backend: the hot path.
        tls: certificates and rules; None for plain connections.
    """

    def __init__(
        self,
        address: Address,
        settings: Settings,
        delegate: str,
        backend: Backend,
        tls: Tls | None = None,
    ) -> None:
        self.ip, self.port = address
        self.backend = backend
        self.tls = tls
        self.low_water = settings.mailbox_high_water // 4
        self.low_water_bytes = settings.mailbox_high_water_bytes // 4
        self.settings = settings
        self.delegate = delegate
        self.metrics = Metrics()
        self.links = Links()
        self.run_queue = backend.RunQueue()
        self.losses = Losses(self.run_queue)
        self.live: dict[str, Mailbox] = {}
        self.peers: WeakValueDictionary[Address, Peer] = WeakValueDictionary()
        self.outgoing: set[PeerConnection] = set()
        self.routes = RouteTable(self.live.get)
        self.server = Server(self)
        self.is_stopping = False
        self._observers: dict[str, set[ServerConnection]] = {}
        self._releasing = threading.Lock()
        self._ended = asyncio.Event()

    # Processes

    def claim(self, process: Process) -> Mailbox:
        """Register a bound process, its mailbox closed.  Any thread may call this.

        Raises:
            InvalidProcess: a live process has that id, or there are too many.
        """
        pid = process.pid
        if len(self.live) >= self.settings.max_processes:
            raise InvalidProcess(
                f"{pid} is one too many: max_processes={self.settings.max_processes} live already"
            )
        mailbox = self.backend.Mailbox(process, pid, self, self.run_queue)
        if self.live.setdefault(pid.id, mailbox) is not mailbox:
            raise InvalidProcess(
                f"a process {pid.id!r} lives on {pid.host} already; "
                "choose another name, or wait until it has ended"
            )
        return mailbox

    def release(self, mailbox: Mailbox) -> None:
        """Take back a claim: its process could not be initialized.  Any thread may call this."""
        with self._releasing:
            if self.live.get(mailbox.pid.id) is mailbox:
                del self.live[mailbox.pid.id]

    def bind(self, process: Process, name: str) -> Call | None:
        """The call that hands a message of that name to a process, or None."""
        return bind_handler(process, name)

    def mailbox_of(self, pid: PID) -> Mailbox | None:
        """The mailbox of a live local process.  Any thread may call this."""
        mailbox = self.live.get(pid.id)
        if mailbox is not None and (mailbox.pid is pid or mailbox.pid == pid):
            return mailbox
        return None

    def is_local(self, pid: PID) -> bool:
        """Whether a pid carries the advertised address of this context."""
        return pid.port == self.port and pid.ip == self.ip

    def start_process(self, mailbox: Mailbox, initialization: Any) -> None:
        """Open the mailbox of a claimed process; first run what ``initialize`` has left to do."""
        if self.is_stopping:
            if initialization is not None:
                initialization.close()
            mailbox.abandon(Reason.STOPPED)
            return
        if initialization is not None:
            mailbox.put_first(Initialization(initialization, self.handler_failed))
        mailbox.open()

    def process_ended(self, mailbox: Mailbox) -> None:
        """A mailbox has ended: forget the process, and tell whoever watches it."""
        pid = mailbox.pid
        self.routes.forget(mailbox)
        if mailbox.outbox is not None:
            mailbox.outbox.close()
        if self.live.get(pid.id) not in (None, mailbox):
            return  # it never lived, and another process has taken its id since
        self.release(mailbox)
        self.links.drop(pid.id)
        self._notify(pid, self.links.exited(pid), Reason.TERMINATED)
        for observer in self._observers.pop(pid.id, ()):
            observer.observed_ended(pid.id)
        if not self.live:
            self._ended.set()

    def handler_failed(self, mailbox: Mailbox, entry: Entry, error: BaseException) -> None:
        """A handler raised, or its message did not parse: log and count it."""
        self.metrics.handler_failures += 1
        call, a, b = entry
        if call is serve:
            what = str(a)
        elif isinstance(a, (PID, tuple)):
            sender = a[1] if isinstance(a, tuple) else a
            what = f"message {mailbox.name_of(entry)!r} from {sender} ({len(b)} bytes)"
        else:
            what = "finalize"
        if isinstance(error, DoesNotParse):
            self.metrics.unparsable(mailbox.pid, what, error)
            return
        log.error("process %s failed in %s", mailbox.pid, what, exc_info=error)

    def message_dropped(self, mailbox: Mailbox, entry: Entry, reason: Reason) -> None:
        """A message will not be handled."""
        _, sender, body = entry
        self.metrics.dead_letter(
            DeadLetter(reason, mailbox.pid, sender, mailbox.name_of(entry), len(body))
        )

    # Sending

    def send(self, mailbox: Mailbox, to: PID, name: str, body: bytes) -> None:
        """Send a message from the process of a mailbox; the next one goes the short way."""
        sender = mailbox.pid
        if self.is_local(to):
            self._send_locally(sender, to, name, body)
        elif self._can_dial(to, sender, name, body):
            outflow, prefix = self.peer(to.address).outflow, message_prefix(sender, to, name)
            if mailbox.outbox is not None:
                mailbox.outbox.remember(to, name, outflow, prefix)
            outflow.write_message(prefix, body)

    def forward(self, sender: PID, to: PID, name: str, body: bytes) -> None:
        """Send a message whose sender is not, or need not be, a process of this context."""
        if self.is_local(to):
            self._send_locally(sender, to, name, body)
        elif self._can_dial(to, sender, name, body):
            outflow = self.peer(to.address).outflow
            outflow.write_message(message_prefix(sender, to, name), body)

    async def drained(self, to: PID) -> None:
        """Wait while more stands before ``to`` than its high-water mark, until most has left."""
        # Whoever is released may find that another one, who was too, has filled it again.
        if self.is_local(to):
            mailbox, settings = self.live.get(to.id), self.settings
            high_water = min(settings.mailbox_high_water, settings.max_mailbox_events // 2)
            while mailbox is not None and (
                len(mailbox.queue) > high_water
                or mailbox.large_bytes > settings.mailbox_high_water_bytes
            ):
                await released_by(mailbox)
        else:
            peer = self.peers.get(to.address)
            while peer is not None and peer.outflow.is_backed_up:
                await released_by(peer)

    def backed_up(self, address: Address, is_backed_up: bool) -> None:
        """More is parked for an address than the high-water mark, or no longer."""
        self.metrics.set_backed_up(address, is_backed_up)

    def _can_dial(self, to: PID, sender: PID, name: str, body: bytes) -> bool:
        reason = self._undialable(to)
        if reason is not None:
            self.metrics.dead_letter(DeadLetter(reason, to, sender, name, len(body)))
        return reason is None

    def _undialable(self, to: PID) -> Reason | None:
        if self.is_stopping:
            return Reason.STOPPED
        if not to.id:
            return Reason.NO_PROCESS  # nor would its path say that it is for nobody
        return Reason.UNREACHABLE if to.port == 0 or to.ip in ("0.0.0.0", "::") else None

    def _send_locally(self, sender: PID, to: PID, name: str, body: bytes) -> None:
        mailbox = self.live.get(to.id)
        if mailbox is None:
            reason = Reason.STOPPED if self.is_stopping else Reason.NO_PROCESS
            self.metrics.dead_letter(DeadLetter(reason, to, sender, name, len(body)))
            return
        if len(mailbox.queue) >= self.settings.max_mailbox_events:
            self.metrics.dead_letter(DeadLetter(Reason.OVERFLOW, to, sender, name, len(body)))
            return
        call = mailbox.call_for(name) or mailbox.call_for_unhandled(name)
        mailbox.put_message(call, sender, body)

    def peer(self, address: Address) -> Peer:
        """The peer at an address; there is one as long as somebody uses it."""
        peer = self.peers.get(address)
        if peer is None:
            peer = self.peers[address] = Peer(address, self)
        return peer

    def delegated(self, process: Process, name: str, sender: PID, body: bytes) -> None:
        """Forward a message that ``process`` does not handle, or report it as a dead letter."""
        to = process.__delegate_of__(name)
        if to is None:
            letter = DeadLetter(Reason.NO_HANDLER, process.pid, sender, name, len(body))
            self.metrics.dead_letter(letter)
        else:
            self.forward(sender, to, name, body)

    # Links and exits

    def link(self, linker: PID, to: PID, reconnect: bool) -> None:
        """Let a local process watch a pid."""
        mailbox = self.live.get(linker.id)
        if mailbox is None:
            return  # it ended before its call was made
        if self.is_local(to):
            if to.id in self.live:
                self.links.add(linker.id, to)
            else:
                self._tell_exit(mailbox, to, Reason.NO_PROCESS)
            return
        reason = self._undialable(to)
        if reason is not None:
            self._tell_exit(mailbox, to, reason)
            return
        self.links.add(linker.id, to)
        peer = self.peer(to.address)
        if reconnect and not peer.is_idle:
            watched = self.links.watched_at(to.address)
            peer.reconnect([(pid.id, link_frame(linker, pid)) for pid in watched])
        else:
            peer.outflow.write_link(to.id, link_frame(linker, to))

    def peer_lost(self, peer: Peer, reason: Reason) -> None:
        """An address is gone: every linker of every pid there hears of it once."""
        exits = self._exit_all(self.links.lost(peer.address), reason)
        self.losses.report(("links", peer.address), exits)

    def _exit_all(self, lost: list[tuple[PID, set[str]]], reason: Reason) -> Iterator[None]:
        for pid, linkers in lost:
            self._notify(pid, linkers, reason)
            yield

    def link_exited(self, address: Address, id_: str, reason: Reason) -> None:
        """One process at an address is gone, while its context lives."""
        pid = _pid_of(*address, id_)
        if pid is not None:  # peers may say anything
            self._notify(pid, self.links.exited(pid), reason)

    def frames_dropped(self, address: Address, frames: Frames, reason: Reason) -> None:
        """Frames for an address will not be written; linkers hear of it by an exit."""
        self.losses.report(address, self._drop(address, frames, reason))

    def _drop(self, address: Address, frames: Frames, reason: Reason) -> Iterator[None]:
        for head, body in frames:
            if not head.is_link:
                self.frame_dropped(address, head, body, reason)
            yield

    def frame_dropped(self, address: Address, head: Head, body: bytes, reason: Reason) -> None:
        """A message for an address will not be written."""
        id_, name = split_path(head.path)
        self.metrics.dead_letter(
            DeadLetter(reason, PID(*address, id_), head.sender, name, len(body))
        )

    def message_refused(self, address: Address) -> None:
        """A peer answered one of our messages with 404."""
        self.metrics.dead_letter(DeadLetter(Reason.NO_PROCESS, PID(*address, "")))

    def _notify(self, pid: PID, linkers: Iterable[str], reason: Reason) -> None:
        for linker in linkers:
            mailbox = self.live.get(linker)
            if mailbox is not None:
                self._tell_exit(mailbox, pid, reason)

    def _tell_exit(self, mailbox: Mailbox, pid: PID, reason: Reason) -> None:
        takes_reason = handler_table(type(mailbox.process)).exited_takes_reason
        mailbox.put_event(Exited(pid, reason, takes_reason))

    def observe(self, id_: str, observer: ServerConnection) -> bool:
        """Tell ``observer`` when a process ends; False if it does not live."""
        if id_ not in self.live:
            return False
        self._observers.setdefault(id_, set()).add(observer)
        return True

    def stop_observing(self, id_: str, observer: ServerConnection) -> None:
        """The observer's connection is gone."""
        observers = self._observers.get(id_)
        if observers is not None:
            observers.discard(observer)
            if not observers:
                del self._observers[id_]

    # Receiving

    def message_not_taken(self, head: Head, body: bytes, reason: Reason) -> None:
        """A message arrived that no process here will have."""
        id_, name = split_path(head.path)
        self.metrics.dead_letter(
            DeadLetter(reason, _pid_of(self.ip, self.port, id_), head.sender, name, len(body))
        )

    def find_route(self, path: bytes) -> tuple[Mailbox, Callable[[Any], Any]] | None:
        """Who serves an HTTP path that is not known yet; the delegate if there is nobody else."""
        if b"/.." in path:
            return None
        try:
            id_, rest = self.backend.split_path(path)
        except RemoteProtocolError:
            return None
        mailbox = self.live.get(id_)
        if mailbox is None and self.delegate:
            mailbox = self.live.get(self.delegate)
            rest = path.decode("utf-8", "surrogateescape")
        if mailbox is None:
            return None
        found = self.backend.match_route(handler_table(type(mailbox.process)).routes, rest)
        if found is None:
            return None
        call = bind_route(mailbox.process, found[0])
        self.routes.remember_page(mailbox, found[0], call, path)
        return mailbox, call

    # Stopping

    def abandon(self) -> None:
        """End everything at once, and report what is lost: nobody will run this loop again."""
        self.is_stopping = True
        self.losses.close()
        for mailbox in list(self.live.values()):
            mailbox.abandon(Reason.STOPPED)
        self.server.close()
        self._abort_connections()

    def _abort_connections(self) -> None:
        for peer in list(self.peers.values()):
            peer.abort(Reason.STOPPED)
        for connection in list(self.outgoing):
            connection.abort()
        self.server.abort()

    async def stop(self) -> None:
        """End all processes, let messages and answers leave, close all sockets."""
        self.is_stopping = True
        self.losses.close()
        linger = self.settings.linger
        self._ended = asyncio.Event()
        for mailbox in list(self.live.values()):
            mailbox.terminate(inject=True)
        if self.live:
            await _within(linger, self._ended.wait())
        for mailbox in list(self.live.values()):
            log.warning("process %s did not end within %s s", mailbox.pid, linger)
            mailbox.abandon(Reason.STOPPED)
        peers = list(self.peers.values())
        leaving = [p.finish() for p in peers] + [c.ended for c in self.outgoing]
        if leaving:
            await _within(linger, asyncio.gather(*leaving, return_exceptions=True))
        await asyncio.sleep(_AFTER_SOCKETS)
        self.server.close()
        await _within(linger, self.server.answered())
        self._abort_connections()
        for _ in range(_ACCEPTING_TURNS):
            await asyncio.sleep(0)


def _pid_of(ip: str, port: int, id_: str) -> PID | None:
    try:
        return PID(ip, port, id_)
    except ValueError:
        return None


async def _within(seconds: float, awaitable: Any) -> None:
    try:
        await asyncio.wait_for(awaitable, seconds)
    except asyncio.TimeoutError:
        log.info("gave up after %s s while stopping", seconds)
