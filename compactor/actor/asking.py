"""``Asking``: what a process does to ask others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compactor.actor.future import Future
from compactor.actor.protobuf import answer_parser_of, message_name
from compactor.pid import PID
from compactor.wire.encoder import Body


class Asking:
    """The part of ``Process`` that asks."""

    if TYPE_CHECKING:

        @property
        def context(self) -> Any: ...
        @property
        def pid(self) -> PID: ...

    def ask(
        self, to: PID, name: str, body: Body | None = None, *, timeout: float | None = None
    ) -> Future[bytes]:
        """Send a message, and wait for its answer; ``Context.ask`` says more.

        Args:
            to: the receiver.
            name: the message name.
            body: the content, or None for none.
            timeout: seconds; default the setting ``ask_timeout``.

        Returns:
            A future for the answer, to be awaited.

        Raises:
            UnboundProcess: this process has not been spawned.
            ProcessError: a process that asks itself would wait for ever.
            TypeError, ValueError: the receiver, name, body or time cannot be used.
        """
        answer: Future[bytes] = self.context._ask_from(self.pid, to, name, body, timeout)
        return answer


class ProtobufAsking(Asking):
    """The part of ``ProtobufProcess`` that asks."""

    def ask(  # type: ignore[override]
        self, to: PID, message: Any, *, reply: Any = None, timeout: float | None = None
    ) -> Future[Any]:
        """Send a protocol buffer, and wait for the one that answers it.

        Args:
            to: the receiver.
            message: a protocol buffer with all required fields.
            reply: the type of the answer; None for its bytes.
            timeout: seconds; default the setting ``ask_timeout``.

        Returns:
            A future for the answer, to be awaited; see ``Context.ask``.  It fails with
            ``DoesNotParse`` if the answer is of another type.

        Raises:
            UnboundProcess, ProcessError, ValueError: as ``Process.ask``.
            TypeError: ``message`` or ``reply`` is no protocol buffer.
        """
        decode = None if reply is None else answer_parser_of(reply)
        name, body = message_name(message), message.SerializeToString()
        answer: Future[Any] = self.context._ask_from(self.pid, to, name, body, timeout, decode)
        return answer
