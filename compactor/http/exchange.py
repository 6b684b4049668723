"""``Exchange``: one HTTP request on its way, and its answer on the way back."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from compactor.errors import Reason, RemoteProtocolError
from compactor.http.awaited import begin, drive, finish, result_of
from compactor.http.compressing import compressed, is_worth_it
from compactor.http.request import Request
from compactor.http.response import Late, Response, Streamed

from ..wire.request_head import Head

_FAILED = Response.error(500)  # made while there is memory for it


class Exchange:
    """A request to a route: the event of its process, and the place of its answer.

    Args:
        call: what the request is given to.
        head, body: the request.
        peer: (ip, port) of who made it.

    Attributes:
        response: the answer, once it is there; ``str`` and ``bytes`` stand for themselves.
        answered: called then with this exchange, if somebody waits for it.
        early: bytes of the answer, if it waits behind others that are not there yet.
        is_abandoned: whether nobody waits for the answer any more.
        is_left: whether the client that waits for it sends no more.
        is_oldest: whether all requests before it on its connection are answered.
        takes_gzip: whether the client takes the answer in gzip.
        late: an answer whose head is still being made.
        place: where a generator of the route runs, or the mailbox alone; of what was served.
    """

    __slots__ = (
        "_call",
        "_request",
        "answered",
        "early",
        "is_abandoned",
        "is_left",
        "is_oldest",
        "late",
        "place",
        "response",
        "takes_gzip",
    )

    def __init__(
        self, call: Callable[[Request], Any], head: Head, body: bytes, peer: tuple[str, int]
    ) -> None:
        self._call = call
        self._request = Request(
            head.method, head.path_text, head.query_text, head.fields, body, peer
        )
        self.response: Response | str | bytes | None = None
        self.answered: Callable[[Exchange], None] | None = None
        self.early = 0
        self.is_abandoned = self.is_left = self.is_oldest = False
        self.takes_gzip = False
        self.late: Late | None = None

    def _respond(self, response: Response | str | bytes) -> None:
        """Give the answer; a second one is ignored."""
        if self.response is None:
            self.response = response
            if self.answered is not None:
                self.answered(self)

    def serve(self, mailbox: Any) -> Any:
        try:
            result = self._call(self._request)
            if (
                isinstance(result, (str, bytes))
                and self._request.draft is None
                and not self.takes_gzip
            ):
                if not result.isascii() and isinstance(result, str):
                    result.encode()  # raises if it cannot be sent, as a part of a path
                self._respond(result)
                return None
            self.place = mailbox
            if inspect.isgenerator(result):
                result = drive(result)
            elif result is not None and hasattr(result, "add_done_callback"):
                result = result_of(result)  # of a route that tornado has made a coroutine
            if isinstance(result, Coroutine):
                return finish(self, result, mailbox)
            self.answer(result)
        except BaseException as error:
            self.fail(error)
        return None

    def fail(self, error: BaseException) -> None:
        """Answer 400 or the like to what the client did wrong, and 500 to what the route did."""
        if isinstance(error, RemoteProtocolError):
            self.answer(Response.error(error.status, str(error)))
        else:
            if isinstance(error, MemoryError):
                self._respond(_FAILED)
                if self.answered is not None:  # there was an answer, and no memory to tell of it
                    self.answered(self)
            else:
                self.answer(Response.error(500))
            raise error

    def answer(self, result: Any) -> None:
        """Give what the route has returned."""
        response = self._request.answer(result)
        if self.takes_gzip and is_worth_it(response):
            response = compressed(response)
        if not isinstance(response, Late):
            self._respond(response)
        elif self.response is None and self.late is None:
            self.late = response
            response.turn = None
            response.task = asyncio.get_running_loop().create_task(
                begin(self, self._request, response)
            )

    def begun(self, response: Response) -> None:
        """Give an answer whose head was still being made."""
        self._respond(response)
        if self.is_abandoned:
            self.abandon()

    def become_oldest(self) -> None:
        """All requests before it are answered."""
        self.is_oldest = True
        turn = self.late.turn if self.late is not None else None
        if turn is not None and not turn.done():
            turn.set_result(None)

    def abandon(self) -> None:
        """Nobody waits for the answer any more."""
        self.answered = None
        self.is_abandoned = True
        if self.late is not None:
            self.late.task.cancel()
        if isinstance(self.response, Streamed) and self.response.source is not None:
            self.response.source.close()

    def discard(self, reason: Reason) -> None:
        self.answer(Response.error(500, f"The process has ended: {reason}."))

    def moved(self, mailbox: Any, page_of: Callable[[bytes], Any]) -> bool:
        """Have it be for the process of another mailbox; False if that has no such route."""
        page = page_of(self._request.path.encode("utf-8", "surrogateescape"))
        if page is None or page[0] is not mailbox:
            return False
        again = getattr(self._call, "again", None)  # what it gives to requests is not the page's
        self._call = page[1] if again is None else again(page[1])
        return True

    def __str__(self) -> str:
        return f"request {self._request.method} {self._request.uri}"
