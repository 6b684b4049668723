"""``ContextMessages``: messages that name no sender, and the types of messages of a context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from compactor.actor.message_types import MessageTypes
from compactor.actor.messages import Message
from compactor.pid import NOBODY, PID, check_pid
from compactor.runtime.loop_owner import LoopOwner
from compactor.wire.encoder import Body

Value = TypeVar("Value")


class ContextMessages(LoopOwner):
    """The part of ``Context`` that posts messages, and knows how those of a type are written."""

    _types: MessageTypes

    @overload
    def post(self, to: PID, name: str, body: Body | None = None) -> None: ...
    @overload
    def post(self, to: PID, name: Message) -> None: ...
    def post(self, to: PID, name: Any, body: Body | None = None) -> None:
        """Send a message that names no sender, as libprocess's ``post`` does.

        Args:
            to: the receiver.
            name: the message name; or a message of a type, without a body.
            body: the content, or None for none.

        Raises:
            ContextStopped: the context was stopped.
            TypeError, ValueError: the receiver, name, body or message cannot be sent.
            MissingPackage: what writes such messages is not installed.
        """
        check_pid(to)
        self._ask(self._runtime.forward, NOBODY, to, *self._types.message(name, body))

    def codec(
        self,
        kind: type[Value],
        encode: Callable[[Value], bytes],
        decode: Callable[[bytes], Value],
        content_type: str,
    ) -> None:
        """Have the values of a class, and of those below it, written and read by two functions.

        They may be messages, answers, or parts of both.  Call it before a process that handles them
        is spawned, on each context that sends or receives them::

            context.codec(Image, Image.to_png, Image.from_png, "image/png")

        Args:
            kind: the class.
            encode: makes bytes of a value.
            decode: makes a value of bytes that anybody may have sent; it raises what is wrong with
                them.
            content_type: what the bytes are.

        Raises:
            TypeError, ValueError: they cannot be used, or the class has a codec already.
        """
        self._types.give(kind, encode, decode, content_type)
