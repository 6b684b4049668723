"""Where a TLS connection stands, and what may follow."""

from __future__ import annotations

import enum


class State(enum.IntEnum):
    """Where one connection stands, as seen from this side; it goes forward only."""

    SHAKING_HANDS = enum.auto()
    READY = enum.auto()  # the handshake is over; there is no protocol above yet
    OPEN = enum.auto()
    ENDING = enum.auto()  # the end of TLS follows when all is sent that was written
    CLOSING = enum.auto()  # the same, and then the socket is closed
    ENDED = enum.auto()  # the end of TLS was sent; the peer may go on
    CLOSED = enum.auto()  # the end of TLS was sent, and the socket is closed
    CUT = enum.auto()  # the socket is closed, without an end of TLS


SHAKING_HANDS, READY, OPEN, ENDING, CLOSING, ENDED, CLOSED, CUT = State

NEXT: dict[State, tuple[State, ...]] = {
    SHAKING_HANDS: (READY, CUT),
    READY: (OPEN, CUT),
    OPEN: (ENDING, CLOSING, ENDED, CUT),
    ENDING: (CLOSING, ENDED, CUT),
    CLOSING: (ENDED, CUT),
    ENDED: (CLOSED,),
    CLOSED: (),
    CUT: (),
}
"""What may follow each state.  What cannot follow is not entered: what is over stays over."""
