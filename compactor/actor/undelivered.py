"""``Undelivered``: messages that reach no mailbox, on their way out or in, as dead letters."""

from __future__ import annotations

from collections.abc import Iterator

from compactor.actor.routes import split_path
from compactor.actor.slices import Slices
from compactor.errors import Reason
from compactor.metrics.dead_letters import DeadLetter
from compactor.metrics.metrics import Metrics
from compactor.pid import PID, Address
from compactor.wire.request_head import Head

Frames = Iterator[tuple[Head, bytes]]
Frame = tuple[Head, int]  # and the bytes of its body


class Undelivered:
    """What peers and connections of one context report.

    Args:
        here: the advertised (ip, port).
        metrics: counts dead letters.
        slices: a lost connection may have had many messages.
    """

    def __init__(self, here: Address, metrics: Metrics, slices: Slices) -> None:
        self._here = here
        self._metrics = metrics
        self._slices = slices

    def frame(self, address: Address, head: Head, body: bytes, reason: Reason) -> None:
        """A message for an address will not be written."""
        id_, name = split_path(head.path)
        self._metrics.dead_letter(
            DeadLetter(reason, PID(*address, id_), head.sender, name, len(body))
        )

    def frames(self, address: Address, frames: Frames, reason: Reason) -> None:
        """Frames for an address will not be written; linkers hear of it by an exit."""
        self._slices.work(self._each(address, frames, reason), address)

    def _each(self, address: Address, frames: Frames, reason: Reason) -> Iterator[None]:
        for head, body in frames:
            if not head.is_link:
                self.frame(address, head, body, reason)
            yield

    def refused(self, at: Address, frame: Frame | None, status: int, reason: Reason) -> None:
        """A peer answered one of our messages with an error.

        Args:
            at: the address of the peer.
            frame: the message, if it is known.
            status, reason: what the answer says.
        """
        if reason is not Reason.NO_PROCESS:
            why = f"status {status}"
            if reason is Reason.SENDER_REFUSED:
                why += ", for messages have to come from the address of their sender there"
            self._metrics.peer_trouble("a message was not taken by", at, why)
        if frame is None:
            self._metrics.dead_letter(DeadLetter(reason, PID(*at, "")))
            return
        head, size = frame
        if not head.is_link:
            id_, name = split_path(head.path)
            self._metrics.dead_letter(DeadLetter(reason, PID(*at, id_), head.sender, name, size))

    def not_taken(self, head: Head, body: bytes, reason: Reason) -> None:
        """A message arrived that no process here will have."""
        id_, name = split_path(head.path)
        try:
            to: PID | None = PID(*self._here, id_)
        except ValueError:  # peers may say anything
            to = None
        self._metrics.dead_letter(DeadLetter(reason, to, head.sender, name, len(body)))
