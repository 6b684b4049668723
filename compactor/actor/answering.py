"""What an ``@answer`` method does with a message: its result goes to whoever has asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from compactor.actor.pending import FAILED, no_answer
from compactor.actor.protobuf import message_name
from compactor.actor.routes import Call
from compactor.errors import Reason
from compactor.pid import PID, TEMPORARY
from compactor.wire.encoder import TypedName, content_of

RAW = "application/octet-stream"
"""The content type of answers that are bytes."""


class Encoded(NamedTuple):
    """An answer as it leaves, by a message or in a response.

    Attributes:
        name: of the message.
        body: its content.
        content_type: what the body is, for who asks by HTTP.
    """

    name: str
    body: bytes
    content_type: str


def encoded(
    name: str, result: Any, encode: Callable[[Any], tuple[str, bytes]] | None = None
) -> Encoded:
    """What a handler has returned, as it leaves.

    Args:
        name: of the message that is answered.
        encode: makes a message of the result; None for bytes and protocol buffers.

    Raises:
        TypeError: no answer has that type.
        google.protobuf.message.EncodeError: a required field is missing.
    """
    is_buffer = hasattr(result, "DESCRIPTOR")
    if encode is not None:
        name, body = encode(result)
    elif is_buffer:
        name, body = message_name(result), result.SerializeToString()
    else:
        body = content_of(result)
    if type(name) is TypedName:
        return Encoded(name, body, name.content_type)
    return Encoded(name, body, f"application/x-protobuf; proto={name}" if is_buffer else RAW)


def answering(
    process: Any,
    name: str,
    call: Callable[[PID, Any], Any],
    encode: Callable[[Any], tuple[str, bytes]] | None = None,
) -> Call:
    """The call that has a message handled, and answers it if it was asked.

    Args:
        process: whose handler it is.
        name: of the message, and of its answer.
        call: takes who has asked, as far as that is known, and the body.
        encode: makes a message of what is returned; None for bytes and protocol buffers.
    """

    def handle(from_pid: PID, body: Any) -> Any:
        if not from_pid.id.startswith(TEMPORARY):
            return call(from_pid, body)  # sent, not asked: nobody waits for the result
        answer = _Answer(process, name, from_pid, encode)
        try:
            result = call(process.context._asker_of(from_pid), body)
            if isinstance(result, Coroutine):
                return _finish(answer, result)
            answer.give(result)
        except Exception as error:
            answer.fail(error)
        except BaseException as error:
            answer.fail(error)
            raise
        return None

    return handle


async def _finish(answer: _Answer, coroutine: Coroutine[Any, Any, Any]) -> None:
    try:
        answer.give(await coroutine)
    except asyncio.CancelledError:
        answer.send(Encoded(FAILED, no_answer(Reason.TERMINATED), RAW))
        raise
    except Exception as error:
        answer.fail(error)
    except BaseException as error:
        answer.fail(error)
        raise


class _Answer:
    """The answer to one message.

    Args:
        process: answers.
        name: of the message.
        to: the temporary sender that waits.
        encode: makes a message of a result; None for bytes and protocol buffers.
    """

    __slots__ = ("_encode", "_name", "_process", "_to")

    def __init__(
        self,
        process: Any,
        name: str,
        to: PID,
        encode: Callable[[Any], tuple[str, bytes]] | None,
    ) -> None:
        self._process = process
        self._name = name
        self._to = to
        self._encode = encode

    def give(self, result: Any) -> None:
        """Answer with what a handler has returned."""
        self.send(encoded(self._name, result, self._encode))

    def fail(self, error: BaseException) -> None:
        """Answer that the handler has raised."""
        process = self._process
        process.context._answer_failure(process.pid, self._to, self._name, error)
        process.context._answer_failed(process, error)

    def send(self, answer: Encoded) -> None:
        """Send what is answered."""
        self._process.context._answer(self._process.pid, self._to, answer)
