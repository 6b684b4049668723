"""``Encoded``: an answer as it leaves, by a message or in a response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from compactor.actor.protobuf import message_name
from compactor.wire.encoder import TypedName, content_of

Encode = Callable[[Any], tuple[str, bytes]]

RAW = "application/octet-stream"
"""The content type of answers that are bytes."""


class Encoded(NamedTuple):
    """An answer as it leaves.

    Attributes:
        name: of the message.
        body: its content.
        content_type: what the body is, for who asks by HTTP.
    """

    name: str
    body: bytes
    content_type: str


def encoded(name: str, result: Any, encode: Encode | None = None) -> Encoded:
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
