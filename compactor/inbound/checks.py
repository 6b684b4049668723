"""``Checks``: the requests of one connection that have to be let in before they are served.

Most checks take no time.  While one waits for somebody, its connection is held: nothing behind it
is read, so there is one of them for a connection at most, and handlers begin in the order of the
requests.  No other connection waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from compactor.actor.entries import LARGE
from compactor.actor.events import Sized
from compactor.http.exchange import Exchange
from compactor.http.request import Request
from compactor.http.response import Response
from compactor.inbound.delivery import Delivery
from compactor.inbound.delivery_owner import Page
from compactor.inbound.response_queue import CONTINUE, ResponseQueue
from compactor.net.flow_control import Feeder
from compactor.pid import Address
from compactor.wire.request_head import Head

if TYPE_CHECKING:
    from compactor.auth.guard import Guard, Lock, Verdict

Find = Callable[[Head, bytes, "Exchange | None"], "Page | None"]
"""Finds who serves a request, or has it answered: by its exchange, if that waits already."""


class Requested(Protocol):
    """What is asked of the connection that requests come by.

    Attributes:
        peer: (ip, port) of the other end.
    """

    peer: Address

    def hold(self, mailbox: Any, /) -> None: ...
    def send_ready(self, *exchanges: Exchange) -> None: ...
    def send_out(self) -> None: ...


class LetIn:
    """A call that is given a request that was let in.

    Args:
        lock: what was looked at.
        request: that which was looked at.

    Attributes:
        call: serves it, once that is known.
    """

    __slots__ = ("_lock", "_request", "call")

    call: Callable[[Request], Any]

    def __init__(self, lock: Lock, request: Request) -> None:
        self._lock = lock
        self._request = request

    def __call__(self, request: Request) -> Any:
        request.let_in(self._lock, self._request.principal)
        return self.call(request)

    def to(self, call: Callable[[Request], Any]) -> LetIn:
        """The same, and what serves it."""
        self.call = call
        return self

    def again(self, call: Callable[[Request], Any]) -> LetIn:
        """The same for the process that takes the place of the one that the request was for."""
        return LetIn(self._lock, self._request).to(call)


class _Check:
    """One that waits; it holds its connection as a full mailbox does."""

    __slots__ = ("feeders", "task")

    def __init__(self) -> None:
        self.feeders: dict[Feeder, None] | None = None
        self.task: asyncio.Task[None]


class Checks:
    """Asks the guard, waits for it, and has who is let in be served.

    Args:
        guard: says who is let in.
        pages: tells what locks a path.
        seconds: in which a check has to be over.
        connection, delivery, responses: that by which requests come, and its parts.
        find: finds who serves a request.
    """

    def __init__(
        self,
        guard: Guard,
        pages: Any,
        seconds: float,
        connection: Requested,
        delivery: Delivery,
        responses: ResponseQueue,
        find: Find,
    ) -> None:
        self._guard = guard
        self._pages = pages
        self._seconds = seconds
        self._connection = connection
        self._delivery = delivery
        self._responses = responses
        self._find = find
        self._waiting: set[_Check] = set()
        self._number = 0  # of the last request that was looked at, in whole or before its body came
        self._is_looked_at = False  # before its body came

    def lock_of(self, head: Head) -> Lock | None:
        """What has to be looked at before a request is served; None if nothing."""
        lock: Lock | None = self._pages.lock_of(head.path, head.method)
        return lock

    def _begun(
        self, lock: Lock, head: Head, body: bytes
    ) -> tuple[LetIn, Request, Verdict | Coroutine[Any, Any, Verdict]]:
        peer = self._connection.peer
        request = Request(head.method, head.path_text, head.query_text, head.fields, body, peer)
        return LetIn(lock, request), request, self._guard.check(lock, request)

    def page_of(self, lock: Lock, head: Head, body: bytes) -> Page | None:
        """Who serves a request that is let in; None if it waits, or is answered without one."""
        self._number += 1
        self._is_looked_at = False
        call, request, verdict = self._begun(lock, head, body)
        if isinstance(verdict, Coroutine):
            if self._responses.is_over:
                verdict.close()
                return None
            exchange = Exchange(call, head, body, self._connection.peer)
            exchange.takes_gzip = head.takes_gzip
            exchange.answered = self._connection.send_ready
            self._responses.queue(exchange, head, head.size + len(body))
            self._wait_for(verdict, lock, call, exchange, head, body)
            return None
        if verdict is not None:
            answer = request.answer(verdict)
            self._responses.queue(self._responses.encoded(answer, head), head)
            return None
        page = self._find(head, body, None)
        return None if page is None else (page[0], call.to(page[1]))

    def begin_body(self, lock: Lock, page: Page, head: Head) -> None:
        """The same for a route that reads the body as it comes."""
        call, _, verdict = self._begun(lock, head, b"")
        mailbox, serve = page
        connection = self._connection
        exchange = self._responses.begin_body(
            call.to(serve), head, connection.peer, connection.send_ready
        )
        if isinstance(verdict, Coroutine):
            self._wait_for(verdict, lock, call, exchange, head, b"")
        elif verdict is not None:
            exchange.answer(verdict)
        else:
            mailbox.put_event(exchange)
            self._delivery.hold_if_full(mailbox)

    def look_at_head(self, head: Head, is_awaited: bool, is_streamed: bool = False) -> bool:
        """Answer a request whose body has not come, if it is refused whatever that is.

        Args:
            head: of the request.
            is_awaited: whether the client waits to be told that it may send the body.
            is_streamed: whether the route reads it as it comes, and is checked at once.

        Returns:
            Whether the client is told more of it here.
        """
        if self._is_looked_at:  # when it was found to wait
            self._is_looked_at = is_awaited
            return False
        lock = self.lock_of(head)
        if lock is None:
            return False
        peer = self._connection.peer
        request = Request(head.method, head.path_text, head.query_text, head.fields, b"", peer)
        verdict = self._guard.check_head(lock, request)
        if isinstance(verdict, Coroutine) and is_streamed:
            verdict.close()
            return False
        self._is_looked_at = is_awaited and not is_streamed
        if verdict is None:
            return False
        if isinstance(verdict, Coroutine):
            self._wait_to_refuse(verdict, lock, head, request, is_awaited)
        else:
            self._refuse(head, request, verdict, is_awaited)
        return True

    def _wait_to_refuse(
        self,
        verdict: Coroutine[Any, Any, Verdict],
        lock: Lock,
        head: Head,
        request: Request,
        is_awaited: bool,
    ) -> None:
        self._number += 1
        number = self._number

        def then(answer: Verdict) -> None:
            if number != self._number:
                return  # its body has come all the same, and it was looked at with that
            if answer is not None:
                self._refuse(head, request, answer, is_awaited)
            elif is_awaited:
                self._responses.queue(CONTINUE, None)
            self._connection.send_out()

        self._wait(verdict, lock, then)

    def _refuse(self, head: Head, request: Request, verdict: Response, is_awaited: bool) -> None:
        """Answer a request whose body has not come."""
        if is_awaited:  # whether it will come now, nobody knows
            answer = request.answer(verdict)
            answer.headers["Connection"] = "close"
            self._responses.queue_last(self._responses.encoded(answer, head))
            return
        connection = self._connection
        refused = self._responses.begin_body(
            lambda _: None, head, connection.peer, connection.send_ready
        )
        refused.answer(verdict)

    def _wait_for(
        self,
        verdict: Coroutine[Any, Any, Verdict],
        lock: Lock,
        call: LetIn,
        exchange: Exchange,
        head: Head,
        body: bytes,
    ) -> None:
        def then(answer: Verdict) -> None:
            if answer is None and self.lock_of(head) == lock:
                self._serve(call, exchange, head, body)
            else:  # refused, or it is another process by now
                exchange.answer(answer or Response.error(503))

        self._wait(verdict, lock, then)

    def _wait(
        self,
        verdict: Coroutine[Any, Any, Verdict],
        lock: Lock,
        then: Callable[[Verdict], None],
    ) -> None:
        """Hold the connection until a check is over."""
        check = _Check()
        self._waiting.add(check)
        self._connection.hold(check)

        async def wait() -> None:
            answer: Verdict = Response.error(503)
            try:
                answer = await asyncio.wait_for(verdict, self._seconds)
            except asyncio.TimeoutError:
                self._guard.timed_out(lock, self._seconds)
            except asyncio.CancelledError:
                pass  # the connection is lost, or somebody has cancelled what is waited for
            finally:
                self._waiting.discard(check)
                try:
                    then(answer)
                finally:
                    for feeder in check.feeders or ():
                        feeder.release(check)

        check.task = asyncio.get_running_loop().create_task(wait())

    def _serve(self, call: LetIn, exchange: Exchange, head: Head, body: bytes) -> None:
        """Have a request be served that is let in, and has waited for that."""
        page = self._find(head, body, exchange)
        if page is None:
            return
        mailbox, call.call = page
        size = head.size + len(body)
        if size > LARGE:
            mailbox.account(size)
            mailbox.put_event(Sized(exchange, size))
        else:
            mailbox.put_event(exchange)
        self._delivery.hold_if_full(mailbox)

    def close(self) -> None:
        """The connection is lost: nobody waits any more."""
        for check in list(self._waiting):
            check.task.cancel()
