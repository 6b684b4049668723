"""Frames that have the number of an ask behind a size, made anew as libprocess sends them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from compactor.actor.routes import split_path
from compactor.pid import PID, Address
from compactor.wire.encoder import TypedName, encode_message, message_prefix
from compactor.wire.frames import frames_of
from compactor.wire.request_decoder import RequestDecoder


def unnumbered(
    buffers: list[Any], address: Address, new_decoder: Callable[[int, int], RequestDecoder]
) -> list[bytes]:
    """The messages of one block of frames, none of which has such a number.

    Link frames are left out: they hold for the connection that they were parked for.

    Args:
        buffers: whole frames, made here.
        address: where they go.
        new_decoder: of the backend.
    """
    made = []
    for head, body in frames_of(deque([buffers]), new_decoder):
        if head.sender is not None and not head.is_link:
            id_, name = split_path(head.path)
            content_type = dict(head.headers).get(b"content-type", b"").decode()
            if content_type:
                name = TypedName(name, content_type)
            made.append(encode_message(message_prefix(head.sender, PID(*address, id_), name), body))
    return made
