"""``LinkAnswers``: what one accepted connection answers to links, and to requests for notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from logging import DEBUG

from compactor.actor.routes import split_path
from compactor.errors import Reason, RemoteProtocolError
from compactor.http.status import STATUS_LINES
from compactor.inbound.delivery import Delivery
from compactor.inbound.notice_stream import NoticeStream
from compactor.inbound.response_queue import ResponseQueue
from compactor.inbound.server_state import ServerState
from compactor.metrics.logs import fields, logger, place_of
from compactor.pid import NOBODY, Address, Temporary
from compactor.wire import notices
from compactor.wire.encoder import encode_head
from compactor.wire.request_head import Head, parse_sender

log = logger("server")


class LinkAnswers:
    """The notices of one connection: those that are told on it, and those told to its peer.

    Another compactor has two connections: on one it sends its messages and links, and on the other
    it is told what becomes of those links.

    Args:
        state: that of the server.
        transport, peer, delivery, responses: those of the connection.
        wrote: called whenever notices have been written on it.
        cut: gives it up, and says why.
    """

    __slots__ = (
        "_cut",
        "_delivery",
        "_peer",
        "_responses",
        "_state",
        "_told_elsewhere",
        "_told_here",
        "_transport",
        "_wrote",
    )

    def __init__(
        self,
        state: ServerState,
        transport: asyncio.Transport,
        peer: Address,
        delivery: Delivery,
        responses: ResponseQueue,
        wrote: Callable[[], None],
        cut: Callable[[str], None],
    ) -> None:
        self._state = state
        self._transport = transport
        self._peer = peer
        self._delivery = delivery
        self._responses = responses
        self._wrote = wrote
        self._cut = cut
        self._told_here: tuple[bytes, NoticeStream] | None = None
        self._told_elsewhere: NoticeStream | None = None

    def open(self, head: Head) -> None:
        """Answer with the notices that another compactor asks for; nothing else follows here.

        Raises:
            RemoteProtocolError: they were asked for among other requests.
        """
        state, responses = self._state, self._responses
        given = dict(head.headers)
        name = given.get(notices.FIELD, b"")
        sender = parse_sender(given.get(b"libprocess-from", b""))
        shortest, longest = notices.NAME_BYTES
        if head.method != "GET" or sender == NOBODY or not shortest <= len(name) <= longest:
            responses.answer(404, b"404 Not Found.", head)
            return
        interval = state.owner.settings.notice_interval
        lines, rule = notices.answer_lines(interval), state.sender_rule
        refusal = rule.refusal(sender, self._transport) if rule is not None else None
        if refusal is not None:
            responses.queue_last(responses.encoded_parts(403, lines, refusal.encode(), None))
            return
        if responses.waiting or responses.is_over:
            raise RemoteProtocolError("notices are asked for on a connection of their own")
        responses.write()
        responses.is_over = self._delivery.is_shut = True
        self._transport.write(encode_head(STATUS_LINES[200], state.date.now(), lines))
        at = sender.address if sender.ip == self._peer[0] else None
        stream = state.owner.observers.open(
            name, at, self._transport, interval, self._wrote, self._cut
        )
        self._told_here = (name, stream)

    def watch(self, head: Head) -> None:
        """Tell of a process on the notices of the peer; who has none asks for nothing."""
        owner = self._state.owner
        given = dict(head.headers)
        id_, name = split_path(head.path)
        if not name:  # of no process, but of the program itself
            id_ = ""
        stream = owner.observers.stream(given[notices.LINK_FIELD])
        if stream is not None:
            self._told_elsewhere = stream
            if not owner.observers.watch(id_, stream):
                most = owner.settings.max_remote_links
                why = f"max_remote_links={most} are watched already"
                owner.metrics.link_refused(self._peer[0], why)
            elif log.isEnabledFor(DEBUG):
                place = place_of(self._peer)
                told = fields("link", peer=place, to=id_)
                log.debug("%s watches %s here", place, id_, extra=told)
        if head.wants_answer:
            marks = [notices.LINK_ANSWER]
            if isinstance(head.sender, Temporary):
                marks.append(notices.NUMBERS_ANSWER)
            self._responses.queue(self._responses.encoded_parts(202, marks, b"", head), head)

    def refused(self, id_: str, name: str, reason: Reason) -> None:
        """A message was not taken: tell its sender, if it has asked for notices."""
        if self._told_elsewhere is not None:
            self._told_elsewhere.refused(id_, name, reason)

    def close(self) -> None:
        """The connection is lost."""
        if self._told_here is not None:
            self._state.owner.observers.closed(*self._told_here)
