"""The only door to the hot path, and which kind of it was chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from compactor import decoder, frames, inbound, mailbox, outbox, outflow, routes, run_queue
from compactor.heads import Head

__all__ = ["PURE", "Backend", "Head", "chosen"]


class Backend(NamedTuple):
    """One kind of everything that every message passes through."""

    FrameDecoder: type[decoder.FrameDecoder]
    Inbound: type[inbound.Inbound]
    Mailbox: type[mailbox.Mailbox]
    Outbox: type[outbox.Outbox]
    Outflow: type[outflow.Outflow]
    RunQueue: type[run_queue.RunQueue]
    encode_message: Callable[[bytes, bytes], bytes]
    encode_response: Callable[..., bytes]
    split_path: Callable[[bytes], tuple[str, str]]
    match_route: Callable[..., Any]


PURE = Backend(
    decoder.FrameDecoder,
    inbound.Inbound,
    mailbox.Mailbox,
    outbox.Outbox,
    outflow.Outflow,
    run_queue.RunQueue,
    frames.encode_message,
    frames.encode_response,
    routes.split_path,
    routes.match_route,
)
"""The modules as they are, interpreted."""

chosen = PURE
"""What new contexts use."""
