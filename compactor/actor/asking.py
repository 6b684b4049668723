"""``Asking``: what a process does to ask others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, overload

from compactor.actor.answering import Reply, current
from compactor.actor.messages import Ask, Message, ProtobufMessage
from compactor.actor.protobuf import message_name, type_name
from compactor.pid import PID
from compactor.wire.encoder import Body

Answer = TypeVar("Answer")


class Asking:
    """The part of ``Process`` that asks."""

    __asker__: Any = None

    if TYPE_CHECKING:

        @property
        def context(self) -> Any: ...
        @property
        def pid(self) -> PID: ...

    @overload
    def ask(
        self, to: PID, name: str, body: Body | None = None, *, timeout: float | None = None
    ) -> asyncio.Future[bytes]: ...
    @overload
    def ask(
        self,
        to: PID,
        name: str,
        body: Body | None = None,
        *,
        reply: type[Answer],
        timeout: float | None = None,
    ) -> asyncio.Future[Answer]: ...
    @overload
    def ask(
        self, to: PID, name: Ask[Answer], *, timeout: float | None = None
    ) -> asyncio.Future[Answer]: ...
    @overload
    def ask(
        self, to: PID, name: Message, *, reply: type[Answer], timeout: float | None = None
    ) -> asyncio.Future[Answer]: ...
    @overload
    def ask(
        self, to: PID, name: ProtobufMessage, *, timeout: float | None = None
    ) -> asyncio.Future[bytes]: ...
    def ask(
        self,
        to: PID,
        name: Any,
        body: Body | None = None,
        *,
        reply: Any = None,
        timeout: float | None = None,
    ) -> asyncio.Future[Any]:
        """Send a message, and wait for its answer; ``Context.ask`` says more.

        Args:
            to: the receiver.
            name: the message name; or a message of a type, without a body.
            body: the content, or None for none.
            reply: the type of the answer, where the type of the message does not say it.
            timeout: seconds; default the setting ``ask_timeout``.

        Returns:
            A future for the answer, as ``asyncio`` has it: to be awaited on the loop of the
            context, in a handler.  In another thread it is that of ``Context.ask``.

        Raises:
            UnboundProcess: this process has not been spawned.
            ProcessError: a process that asks itself would wait for ever.
            TypeError, ValueError: the receiver, name, body, message or time cannot be used.
            MissingPackage: what writes such messages is not installed.
        """
        asker = self.__asker__
        if asker is None:
            asker = self.__asker__ = self.context._new_asker(self.pid)
        return asker.ask(to, name, body, timeout, reply)  # type: ignore[no-any-return]

    def reply(self, value: Any = None) -> None:
        """Answer the message that is being handled, now or after an ``await``.

        Messages that ``install`` handles are answered by it as well.  In an ``answer`` method, what
        the method returns later is dropped.

        Args:
            value: what an ``answer`` method could return.

        Raises:
            ProcessError: there is nothing to answer: no message is being handled, or one that was
                sent, and not asked; or it is answered already.  In an ``answer`` method, what is
                replied to a message that was sent is dropped.
            TypeError: ``value`` cannot be sent.
        """
        inquiry = current(self)
        inquiry.check_open()
        inquiry.give(value)

    def defer_reply(self) -> Reply:
        """Answer the message that is being handled later: from another event, or thread.

        What an ``answer`` method returns is not the answer then; what it raises still is.

        Returns:
            What is called with the answer, once, from any thread.

        Raises:
            ProcessError: as ``reply``.
        """
        inquiry = current(self)
        inquiry.check_open()
        inquiry.is_deferred = True
        return Reply(inquiry)


class ProtobufAsking(Asking):
    """The part of ``ProtobufProcess`` that asks."""

    @overload  # type: ignore[override]
    def ask(
        self, to: PID, message: ProtobufMessage, *, timeout: float | None = None
    ) -> asyncio.Future[bytes]: ...
    @overload
    def ask(
        self,
        to: PID,
        message: ProtobufMessage,
        *,
        reply: type[Answer],
        timeout: float | None = None,
    ) -> asyncio.Future[Answer]: ...
    def ask(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, to: PID, message: Any, *, reply: Any = None, timeout: float | None = None
    ) -> asyncio.Future[Any]:
        """Send a protocol buffer, and wait for the one that answers it.

        Args:
            to: the receiver.
            message: a protocol buffer with all required fields.
            reply: the type of the answer; None for its bytes.
            timeout: seconds; default the setting ``ask_timeout``.

        Returns:
            A future for the answer, to be awaited; see ``Process.ask``.  It fails with
            ``DoesNotParse`` if the answer is of another type.

        Raises:
            UnboundProcess, ProcessError, ValueError: as ``Process.ask``.
            TypeError: ``message`` or ``reply`` is no protocol buffer.
        """
        message_name(message)
        if reply is not None:
            type_name(reply)
        asked: asyncio.Future[Any] = self.context._ask_from(
            self.pid, to, message, None, timeout, reply
        )
        return asked
