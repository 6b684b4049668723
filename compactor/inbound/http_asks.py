"""``HttpAsk``: an HTTP request without a sender that asks a process, and what it is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compactor.actor.pending import Pending, type_and_text
from compactor.actor.protobuf import DoesNotParse
from compactor.errors import AskFailed, AskTimeout, Reason
from compactor.http.exchange import Exchange
from compactor.http.response import Response
from compactor.pid import NOBODY, PID, Address

Report = Callable[[PID, str, BaseException], None]
"""Counts and logs that a process has failed in something."""

_STATUSES = {
    Reason.NO_PROCESS: 404,
    Reason.NO_HANDLER: 404,
    Reason.OVERFLOW: 503,
    Reason.STOPPED: 503,
}


class HttpAsk(Pending):
    """What is asked by a request, whose response is the answer.

    Args:
        exchange: the place of the response.
        to, name: who is asked, and what.
        peer: (ip, port) of who asks.
        shows_text: whether it may see the text of errors.
        report: told of what the handler raises: whoever asks here does not handle it.
        forget: has nothing wait for the answer any more.
        ended: called once there is a response.
    """

    def __init__(
        self,
        exchange: Exchange,
        to: PID,
        name: str,
        peer: Address,
        shows_text: bool,
        report: Report,
        forget: Callable[[Pending], None],
        ended: Callable[[HttpAsk], None],
    ) -> None:
        self.to = to
        self.name = name
        self.asker = NOBODY
        self._forget = forget
        self._ended = ended
        self._exchange = exchange
        self._peer = peer
        self._shows_text = shows_text
        self._report = report

    def forget(self) -> None:
        self._forget(self)

    def take(self, name: str, body: bytes, content_type: str) -> None:
        self._respond(Response(body, content_type=content_type))

    def raised(self, error: BaseException) -> bool:
        if isinstance(error, Exception):  # else it is on its way to who reports it
            self._report(self.to, f"{self._exchange} from {self._peer[0]}", error)
        if isinstance(error, DoesNotParse):
            self._respond(Response.error(400, f"{error}\n"))
            return True
        type_, text = type_and_text(error)
        told = {"error": type_}
        if self._shows_text:
            told["text"] = text
        self._respond(Response.json(told, 500))
        return True

    def fail(self, error: BaseException) -> None:
        if isinstance(error, AskTimeout):
            self._respond(Response.error(504))
            return
        reason = error.reason if isinstance(error, AskFailed) else Reason.REJECTED
        status = _STATUSES.get(reason, 500)
        told: dict[str, Any] = {"error": type(error).__qualname__, "reason": reason.value}
        self._respond(Response.error(404) if status == 404 else Response.json(told, status))

    def _respond(self, response: Response) -> None:
        self._ended(self)
        self._exchange.answer(response)
