"""``UnusualRequests``: requests that take more than a lookup of their path, on one connection.

They are those of which no route is known yet, those that ask a process as messages do, those for
notices, and those that nobody serves.
"""

from __future__ import annotations

from collections.abc import Callable

from compactor.actor.mailbox import Mailbox
from compactor.errors import RemoteProtocolError
from compactor.http.exchange import Exchange
from compactor.http.response import ErrorResponse
from compactor.http.status import STOPPING
from compactor.inbound.delivery import Delivery
from compactor.inbound.delivery_owner import Page
from compactor.inbound.http_asks import HttpAsk
from compactor.inbound.link_answers import LinkAnswers
from compactor.inbound.response_queue import ResponseQueue
from compactor.inbound.server_state import ServerState
from compactor.pid import Address
from compactor.wire import notices
from compactor.wire.request_head import Head

_ASKS_BY = "POST"  # what no page of another site may do, unlike GET
_ONLY = ErrorResponse("405 Method Not Allowed.", 405, headers={"Allow": _ASKS_BY})


class UnusualRequests:
    """Finds who serves them, or answers them.

    Args:
        state: that of the server.
        peer, delivery, responses, links: those of the connection.
        send_ready: sends answers that were waited for.
        cut_off: answers what is no request, as the last.
    """

    def __init__(
        self,
        state: ServerState,
        peer: Address,
        delivery: Delivery,
        responses: ResponseQueue,
        links: LinkAnswers,
        send_ready: Callable[..., None],
        cut_off: Callable[[RemoteProtocolError], None],
    ) -> None:
        self._state = state
        self._peer = peer
        self._delivery = delivery
        self._responses = responses
        self._links = links
        self._send_ready = send_ready
        self._cut_off = cut_off
        self._asked: dict[HttpAsk, None] = {}  # in order
        self._answered: list[Exchange] = []  # since the last turn ended

    def page_of(self, head: Head, body: bytes) -> Page | None:
        """Who has a route for a request; None if it is answered without one."""
        owner, path = self._state.owner, head.path
        if path == notices.PATH:
            try:
                self._links.open(head)
            except RemoteProtocolError as error:
                self._cut_off(error)
            return None
        if self._state.is_draining:
            self._responses.answer(503, STOPPING, head)
            return None
        page = owner.find_route(path)
        if page is not None:
            return page
        answer = owner.find_answer(path)
        if answer is not None:
            self._ask(*answer, head, body)
        elif path == b"*":  # OPTIONS for all of us
            self._responses.answer(200, b"", head)
        else:
            self._responses.answer(404, b"404 Not Found.", head)
        return None

    def _ask(self, mailbox: Mailbox, name: str, head: Head, body: bytes) -> None:
        """Ask a process for who has sent a request, and have the request wait for the answer."""
        if head.browser is not None:  # what pages may not send, they may not ask
            why = self._state.browser_rule.refusal(head.browser, head.method, is_message=True)
            if why is not None:
                self._state.owner.metrics.request_refused(self._peer[0], why)
                self._responses.answer(403, f"{why}\n".encode(), head)
                return
        exchange = Exchange(lambda _: None, head, b"", self._peer)
        exchange.takes_gzip = head.takes_gzip
        if head.method == _ASKS_BY:
            owner = self._state.owner
            asked = HttpAsk(
                exchange,
                mailbox.pid,
                name,
                self._peer,
                owner.settings.http_error_text,
                owner.answers.report,
                owner.asks.forget,
                lambda answered: self._asked.pop(answered, None),
            )
            self._asked[asked] = None
            owner.asks.ask(asked, body, owner.settings.ask_timeout)
            self._delivery.hold_if_full(mailbox)
        else:
            exchange.answer(_ONLY)
        exchange.answered = self._send_soon
        self._responses.queue(exchange, head, head.size + len(body))

    def _send_soon(self, exchange: Exchange) -> None:
        """An answer is there: it leaves with the others of this turn."""
        if not self._answered:
            self._state.owner.run_queue.flush_soon(self)
        self._answered.append(exchange)

    def flush(self) -> None:
        """Send the answers of a turn."""
        answered, self._answered = self._answered, []
        self._send_ready(*answered)

    def close(self) -> None:
        """The connection is lost: what is asked is handled, and its answer a dead letter."""
        for asked in self._asked:
            asked.forget()
        self._asked.clear()
