"""``UnusualRequests``: requests that take more than a lookup of their path, on one connection.

They are those of which no route is known yet, those that ask a process as messages do, those for
notices, and those that nobody serves.
"""

from __future__ import annotations

from typing import Protocol

from compactor.actor.mailbox import Mailbox
from compactor.errors import RemoteProtocolError
from compactor.http.exchange import Exchange
from compactor.http.response import ErrorResponse, Response
from compactor.http.status import STOPPING
from compactor.inbound.checks import Checks, Requested
from compactor.inbound.delivery import Delivery
from compactor.inbound.delivery_owner import Page
from compactor.inbound.http_asks import HttpAsk
from compactor.inbound.link_answers import LinkAnswers
from compactor.inbound.response_queue import CONTINUE, ResponseQueue
from compactor.inbound.server_state import ServerState
from compactor.wire import notices
from compactor.wire.request_head import Head

_ASKS_BY = "POST"  # what no page of another site may do, unlike GET
_ONLY = ErrorResponse("405 Method Not Allowed.", 405, headers={"Allow": _ASKS_BY})


class Owner(Requested, Protocol):
    """What is asked of the connection besides."""

    def cut_off(self, error: RemoteProtocolError, /) -> None: ...


class UnusualRequests:
    """Finds who serves them, or answers them.

    Args:
        connection: by which they come.
        state: that of the server.
        delivery, responses, links: those of the connection.
    """

    def __init__(
        self,
        connection: Owner,
        state: ServerState,
        delivery: Delivery,
        responses: ResponseQueue,
        links: LinkAnswers,
    ) -> None:
        self._state = state
        self._connection = connection
        self._delivery = delivery
        self._responses = responses
        self._links = links
        self._asked: dict[HttpAsk, None] = {}  # in order
        self._answered: list[Exchange] = []  # since the last turn ended
        owner = state.owner
        self._checks: Checks | None = None
        if owner.guard is not None:
            seconds, of_this = owner.settings.access_timeout, (connection, delivery, responses)
            self._checks = Checks(owner.guard, owner.pages, seconds, *of_this, self._find)

    def page_of(self, head: Head, body: bytes) -> Page | None:
        """Who has a route for a request; None if it is answered without one."""
        if head.path == notices.PATH:
            try:
                self._links.open(head)
            except RemoteProtocolError as error:
                self._connection.cut_off(error)
            return None
        if self._state.is_draining:
            self._responses.answer(503, STOPPING, head)
            return None
        if self._checks is not None:
            lock = self._checks.lock_of(head)
            if lock is not None:
                return self._checks.page_of(lock, head, body)
        return self._find(head, body)

    def begin_body(self, head: Head) -> None:
        """Have a request be served whose route reads its body as it comes, if it is such a one."""
        page = self._state.owner.pages.find_streamed(head.path, head.method)
        if page is None:
            if self._checks is not None:
                self._checks.look_at_head(head, is_awaited=False)
            return
        if self._checks is not None:
            lock = self._checks.lock_of(head)
            if lock is not None:
                self._checks.begin_body(lock, page, head)
                return
        mailbox, call = page
        connection = self._connection
        mailbox.put_event(
            self._responses.begin_body(call, head, connection.peer, connection.send_ready)
        )
        self._delivery.hold_if_full(mailbox)

    def body_awaited(self, head: Head | None) -> None:
        """Have a client send the body of its request that waits to be told so, or refuse it."""
        checks, responses = self._checks, self._responses
        if (
            checks is not None
            and head is not None
            and head.sender is None
            and not (head.is_special or responses.is_over)
        ):
            pages = self._state.owner.pages
            is_streamed = pages.find_streamed(head.path, head.method) is not None
            if checks.look_at_head(head, is_awaited=True, is_streamed=is_streamed):
                return
        responses.queue(CONTINUE, None)

    def _find(self, head: Head, body: bytes, exchange: Exchange | None = None) -> Page | None:
        """The same as ``page_of``, whoever asks.

        Args:
            exchange: the request, if it waits for its answer already.
        """
        owner, path = self._state.owner, head.path
        page = owner.find_route(path)
        if page is not None:
            return page
        answer = owner.find_answer(path)
        if answer is not None:
            self._ask(*answer, head, body, exchange)
        elif exchange is not None:
            exchange.answer(Response.error(404))
        elif path == b"*":  # OPTIONS for all of us
            self._responses.answer(200, b"", head)
        else:
            self._responses.answer(404, b"404 Not Found.", head)
        return None

    def _ask(
        self, mailbox: Mailbox, name: str, head: Head, body: bytes, waiting: Exchange | None
    ) -> None:
        """Ask a process for who has sent a request, and have the request wait for the answer."""
        owner, peer = self._state.owner, self._connection.peer
        exchange = waiting or Exchange(lambda _: None, head, b"", peer)
        exchange.takes_gzip = head.takes_gzip
        refusal = self._refusal(head)
        if refusal is not None:
            exchange.answer(refusal)
        else:
            asked = HttpAsk(
                exchange,
                mailbox.pid,
                name,
                peer,
                owner.settings.http_error_text,
                owner.answers.report,
                owner.asks.forget,
                lambda answered: self._asked.pop(answered, None),
            )
            self._asked[asked] = None
            owner.asks.ask_unless_done(asked, body, owner.settings.ask_timeout)
            self._delivery.hold_if_full(mailbox)
        if waiting is None:
            exchange.answered = self._send_soon
            self._responses.queue(exchange, head, head.size + len(body))

    def _refusal(self, head: Head) -> Response | None:
        """What a request is answered that may not ask."""
        if head.browser is not None:  # what pages may not send, they may not ask
            state = self._state
            why = state.browser_rule.refusal(head.browser, head.method, is_message=True)
            if why is not None:
                state.owner.metrics.request_refused(self._connection.peer[0], why)
                return Response.error(403, f"{why}\n")
        return None if head.method == _ASKS_BY else _ONLY

    def _send_soon(self, exchange: Exchange) -> None:
        """An answer is there: it leaves with the others of this turn."""
        if not self._answered:
            self._state.owner.run_queue.flush_soon(self)
        self._answered.append(exchange)

    def flush(self) -> None:
        """Send the answers of a turn."""
        answered, self._answered = self._answered, []
        self._connection.send_ready(*answered)

    def close(self) -> None:
        """The connection is lost: what is asked is handled, and its answer a dead letter."""
        for asked in self._asked:
            asked.forget()
        self._asked.clear()
        if self._checks is not None:
            self._checks.close()
