"""The only door to the hot path, and which kind of it was chosen.

Everything that each message passes through exists twice: in the modules of this package, and
compiled, in their namesakes of ``compactor._speedups``.  Both kinds can be used side by side; the
parts of one context are all of one kind.

``COMPACTOR_NO_SPEEDUPS=1`` chooses the modules of this package, ``COMPACTOR_REQUIRE_SPEEDUPS=1``
fails rather than falls back to them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from compactor.bodies import Body
    from compactor.decoder import FrameDecoder
    from compactor.heads import Head
    from compactor.inbound import Inbound
    from compactor.mailbox import Mailbox
    from compactor.outbox import Outbox
    from compactor.outflow import Outflow
    from compactor.run_queue import RunQueue

PACKAGES = {"python": "compactor", "cython": "compactor._speedups"}

MODULES = {
    "split_path": "routes",
    "match_route": "routes",
    "encode_message": "frames",
    "encode_response": "frames",
    "parse_head": "heads",
    "Body": "bodies",
    "FrameDecoder": "decoder",
    "RunQueue": "run_queue",
    "Mailbox": "mailbox",
    "Outflow": "outflow",
    "Outbox": "outbox",
    "Inbound": "inbound",
}
"""The module of each part of a backend."""


class Backend(NamedTuple):
    """One kind of every part of the hot path."""

    kind: str
    split_path: Callable[[bytes], tuple[str, str]]
    match_route: Callable[..., tuple[str, str] | None]
    encode_message: Callable[[bytes, bytes], bytes]
    encode_response: Callable[..., bytes]
    parse_head: Callable[[bytes], Head]
    Body: type[Body]
    FrameDecoder: type[FrameDecoder]
    RunQueue: type[RunQueue]
    Mailbox: type[Mailbox]
    Outflow: type[Outflow]
    Outbox: type[Outbox]
    Inbound: type[Inbound]


def backend(kind: str) -> Backend:
    """The backend of a kind, one of ``PACKAGES``.

    Raises:
        ImportError: this installation of compactor has it not.
    """
    package = PACKAGES[kind]
    parts = {
        part: getattr(import_module(f"{package}.{module}"), part)
        for part, module in MODULES.items()
    }
    return Backend(kind, **parts)


def choose() -> Backend:
    """The backend that the environment asks for; the fastest that is there if it does not.

    Raises:
        ImportError: extensions are required, and not there.
    """
    if _is_set("COMPACTOR_NO_SPEEDUPS"):
        return backend("python")
    try:
        return backend("cython")
    except ImportError as error:
        if _is_set("COMPACTOR_REQUIRE_SPEEDUPS"):
            raise ImportError(
                "COMPACTOR_REQUIRE_SPEEDUPS is set, but the compiled extensions of compactor "
                f"cannot be imported ({error}); install a wheel for this platform, or build "
                "from source with a C compiler"
            ) from error
        return backend("python")


def _is_set(name: str) -> bool:
    return os.environ.get(name, "") not in ("", "0")


chosen = choose()
"""What new contexts use."""
