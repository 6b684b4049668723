"""The only door to the hot path: frames, routes and the decoder, and which kind was chosen."""

from __future__ import annotations

from compactor.decoder import FrameDecoder
from compactor.frames import encode_message, encode_response
from compactor.heads import Head
from compactor.routes import RouteTable

__all__ = ["FrameDecoder", "Head", "RouteTable", "encode_message", "encode_response"]
