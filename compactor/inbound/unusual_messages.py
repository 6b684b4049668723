"""``UnusualMessages``: messages that take more than a lookup of their path, on one connection.

They are links, those with a large head, those whose path is not known yet, those whose sender is
judged, and those that web pages send.
"""

from __future__ import annotations

import asyncio

from compactor.actor.answering import asked
from compactor.actor.asks import GIVEN_UP
from compactor.actor.entries import LARGE, unhandled
from compactor.actor.mailbox import Mailbox
from compactor.actor.protobuf import why_unreadable
from compactor.actor.routes import Call, split_path
from compactor.errors import Reason, RemoteProtocolError
from compactor.http.status import STOPPING
from compactor.inbound.delivery import Delivery
from compactor.inbound.link_answers import LinkAnswers
from compactor.inbound.response_queue import ResponseQueue
from compactor.inbound.sender_policy import SenderRule
from compactor.inbound.server_state import ServerState
from compactor.pid import PID, TEMPORARY, Address, number_of
from compactor.wire.request_head import Head

_MAX_SENDERS = 1024  # addresses that one peer was found to write for, and are not judged again

# How the paths of answers to asks begin; the parenthesis may be escaped.
_ANSWER = b"/" + TEMPORARY[:-1].encode()
_GIVEN_UP = b"/" + GIVEN_UP.encode()  # how those end by which senders say that they wait no more


class UnusualMessages:
    """Judges them, takes them to their mailboxes, and answers them.

    Args:
        state: that of the server.
        transport, peer, delivery, responses, links: those of the connection.
    """

    __slots__ = ("_delivery", "_links", "_peer", "_responses", "_state", "_transport")

    def __init__(
        self,
        state: ServerState,
        transport: asyncio.Transport,
        peer: Address,
        delivery: Delivery,
        responses: ResponseQueue,
        links: LinkAnswers,
    ) -> None:
        self._state = state
        self._transport = transport
        self._peer = peer
        self._delivery = delivery
        self._responses = responses
        self._links = links

    def take(self, head: Head, sender: PID, body: bytes) -> None:
        """Have a message be handled, or say why not."""
        owner, rule = self._state.owner, self._state.sender_rule
        try:
            if rule is not None and not self._may_write_for(rule, sender, head, body):
                return
            if head.is_link:
                self._links.watch(head)
                return
            if self._is_of_an_ask(head, sender, body):
                self._responses.answer(202, b"", head)
                return
            if self._state.is_draining:
                is_ask = sender.id.startswith(TEMPORARY)
                reason = Reason.DRAINING if is_ask else Reason.STOPPED
                owner.undelivered.not_taken(head, body, reason)
                self._links.refused(*split_path(head.path), Reason.REJECTED)
                self._responses.answer(503, STOPPING, head)
                return
            target = owner.routes.resolve(head.path)
        except RemoteProtocolError as error:
            what = "sent a message that cannot be delivered"
            owner.metrics.not_understood(self._peer, what, error)
            self._links.refused("", head.path_text, Reason.REJECTED)
            self._responses.answer(400, str(error).encode(), head)
            return
        if target is None:
            self._not_taken(head, body, Reason.NO_PROCESS)
            self._responses.answer(404, b"404 Not Found.", head)
            return
        self._deliver(head, sender, body, *target)

    def _deliver(
        self, head: Head, sender: PID, body: bytes, mailbox: Mailbox, call: Call | None, name: str
    ) -> None:
        is_ask = sender.id.startswith(TEMPORARY)  # which is answered
        if call is None and not is_ask and mailbox.process.__is_deaf_to__(name):
            self._links.refused(mailbox.pid.id, name, Reason.NO_HANDLER)
        call = asked(mailbox.process, name, call or unhandled(mailbox.process, name), sender)
        mailbox.counts.own(mailbox).came(len(body))
        if head.size > LARGE:  # of which its sender, and its name, may be nearly all
            mailbox.put_large(call, sender, body, head.size + len(body))
        else:
            mailbox.put_message(call, sender, body)
        self._delivery.hold_if_full(mailbox)
        why = why_unreadable(call, body) if head.wants_answer else b""
        self._responses.answer(400 if why else 202, why, head)

    def _is_of_an_ask(self, head: Head, sender: PID, body: bytes) -> bool:
        """Whether a message answered an ask, or says that nobody waits for an answer any more."""
        owner = self._state.owner
        if head.path.endswith(_GIVEN_UP):
            owner.asks.inquiries.give_up(sender)
            return True
        if not head.path.startswith(_ANSWER):
            return False
        id_, name = split_path(head.path)
        return owner.asks.answered(number_of(id_), name, body)

    def refuses_browser(self, head: Head, body: bytes) -> bool:
        """Whether the web page that a message or request comes from may not send it.

        If so, that is the answer.
        """
        assert head.browser is not None
        is_message = head.sender is not None
        why = self._state.browser_rule.refusal(head.browser, head.method, is_message)
        if why is None:
            return False
        if is_message:
            self._not_taken(head, body, Reason.SENDER_REFUSED)
        self._state.owner.metrics.request_refused(self._peer[0], why)
        self._responses.answer(403, f"{why}\n".encode(), head)
        return True

    def _may_write_for(self, rule: SenderRule, sender: PID, head: Head, body: bytes) -> bool:
        """Whether the peer may; if not, that is the answer."""
        senders = self._delivery.senders
        address = sender.address
        if senders is not None and address in senders:
            return True
        refusal = rule.refusal(sender, self._transport)
        if refusal is not None:
            self._not_taken(head, body, Reason.SENDER_REFUSED)
            self._responses.answer(400, refusal.encode(), head)
            return False
        if senders is None or len(senders) >= _MAX_SENDERS:
            senders = self._delivery.senders = set()
        senders.add(address)
        return True

    def _not_taken(self, head: Head, body: bytes, reason: Reason) -> None:
        self._state.owner.undelivered.not_taken(head, body, reason)
        self._links.refused(*split_path(head.path), reason)
