"""The only door to the hot path, and which kind of it was chosen.

Everything that each message passes through exists twice: in the modules of this package, and
compiled, in their namesakes of ``compactor._speedups``.  Both kinds can be used side by side; the
parts of one context are all of one kind.

``COMPACTOR_NO_SPEEDUPS=1`` chooses the modules of this package, ``COMPACTOR_REQUIRE_SPEEDUPS=1``
fails rather than falls back to them.
"""

# pyright: reportUnusedImport=false, reportUnusedFunction=false
from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from compactor.actor.asked import Asked
    from compactor.actor.asks import Asks
    from compactor.actor.counts import Counts
    from compactor.actor.dispatches import Dispatch, Dispatcher
    from compactor.actor.handlers import HandlerTable
    from compactor.actor.inquiry import Answering, Inquiry
    from compactor.actor.mailbox import Mailbox
    from compactor.actor.run_queue import RunQueue
    from compactor.actor.scopes import Scopes
    from compactor.actor.waiter import Waiter
    from compactor.http.exchange import Exchange
    from compactor.inbound.delivery import Delivery
    from compactor.inbound.response_queue import HttpDate, ResponseQueue
    from compactor.net.portal import Portal
    from compactor.outbound.ask_ways import AskWays
    from compactor.outbound.asker import Asker
    from compactor.outbound.outbox import Outbox
    from compactor.outbound.send_queue import SendQueue
    from compactor.pid import PID, Temporary
    from compactor.wire.body_buffer import BodyBuffer
    from compactor.wire.body_decoder import BodyDecoder
    from compactor.wire.head_pattern import HeadPattern
    from compactor.wire.request_decoder import RequestDecoder
    from compactor.wire.request_head import Head

PACKAGES = {"python": "compactor", "cython": "compactor._speedups"}

MODULES = {
    "pid_of": "pid",
    "temporary_at": "pid",
    "handler_table": "actor.handlers",
    "split_path": "actor.routes",
    "match_route": "actor.routes",
    "encode_message": "wire.encoder",
    "encode_response": "wire.encoder",
    "encode_body": "wire.encoder",
    "parse_head": "wire.request_head",
    "BodyBuffer": "wire.body_buffer",
    "bytes_of": "wire.body_buffer",
    "Scopes": "actor.scopes",
    "BodyDecoder": "wire.body_decoder",
    "HeadPattern": "wire.head_pattern",
    "RequestDecoder": "wire.request_decoder",
    "RunQueue": "actor.run_queue",
    "Portal": "net.portal",
    "Counts": "actor.counts",
    "Mailbox": "actor.mailbox",
    "Waiter": "actor.waiter",
    "end_with": "actor.outcome",
    "Asked": "actor.asked",
    "Asks": "actor.asks",
    "Inquiry": "actor.inquiry",
    "Answering": "actor.inquiry",
    "AskWays": "outbound.ask_ways",
    "Asker": "outbound.asker",
    "Dispatch": "actor.dispatches",
    "Dispatcher": "actor.dispatches",
    "SendQueue": "outbound.send_queue",
    "Outbox": "outbound.outbox",
    "Delivery": "inbound.delivery",
    "Exchange": "http.exchange",
    "HttpDate": "inbound.response_queue",
    "ResponseQueue": "inbound.response_queue",
}
"""The module of each part of a backend."""


class Backend(NamedTuple):
    """One kind of every part of the hot path."""

    kind: str
    pid_of: Callable[[str, int, str], PID]
    temporary_at: Callable[[PID, int, PID | None], Temporary]
    handler_table: Callable[[type], HandlerTable]
    split_path: Callable[[bytes], tuple[str, str]]
    match_route: Callable[..., tuple[str, str] | None]
    encode_message: Callable[[bytes, bytes], bytes]
    encode_response: Callable[..., bytes]
    encode_body: Callable[[bytes, bytes], bytes]
    parse_head: Callable[[bytes], Head]
    BodyBuffer: type[BodyBuffer]
    bytes_of: Callable[[list[Any], int, int], int]
    Scopes: type[Scopes]
    BodyDecoder: type[BodyDecoder]
    HeadPattern: type[HeadPattern]
    RequestDecoder: type[RequestDecoder]
    RunQueue: type[RunQueue]
    Portal: type[Portal]
    Counts: type[Counts]
    Mailbox: type[Mailbox]
    Waiter: type[Waiter]
    end_with: Callable[[Any], None]
    Asked: type[Asked]
    Asks: type[Asks]
    Inquiry: type[Inquiry]
    Answering: type[Answering]
    AskWays: type[AskWays]
    Asker: type[Asker]
    Dispatch: type[Dispatch]
    Dispatcher: type[Dispatcher]
    SendQueue: type[SendQueue]
    Outbox: type[Outbox]
    Delivery: type[Delivery]
    Exchange: type[Exchange]
    HttpDate: type[HttpDate]
    ResponseQueue: type[ResponseQueue]


def _extensions() -> None:
    """Never called: what freezes programs, as PyInstaller does, looks for lines like these."""
    import compactor._speedups.actor.asked
    import compactor._speedups.actor.asks
    import compactor._speedups.actor.counts
    import compactor._speedups.actor.dispatches
    import compactor._speedups.actor.handlers
    import compactor._speedups.actor.inquiry
    import compactor._speedups.actor.mailbox
    import compactor._speedups.actor.outcome
    import compactor._speedups.actor.routes
    import compactor._speedups.actor.run_queue
    import compactor._speedups.actor.scopes
    import compactor._speedups.actor.waiter
    import compactor._speedups.http.exchange
    import compactor._speedups.inbound.delivery
    import compactor._speedups.inbound.response_queue
    import compactor._speedups.net.portal
    import compactor._speedups.outbound.ask_ways
    import compactor._speedups.outbound.asker
    import compactor._speedups.outbound.outbox
    import compactor._speedups.outbound.send_queue
    import compactor._speedups.pid
    import compactor._speedups.wire.body_buffer
    import compactor._speedups.wire.body_decoder
    import compactor._speedups.wire.encoder
    import compactor._speedups.wire.head_pattern
    import compactor._speedups.wire.request_decoder
    import compactor._speedups.wire.request_head  # noqa: F401


def _modules() -> None:
    """Never called, as above."""
    import compactor.actor.asked
    import compactor.actor.asks
    import compactor.actor.counts
    import compactor.actor.dispatches
    import compactor.actor.handlers
    import compactor.actor.inquiry
    import compactor.actor.mailbox
    import compactor.actor.outcome
    import compactor.actor.routes
    import compactor.actor.run_queue
    import compactor.actor.scopes
    import compactor.actor.waiter
    import compactor.http.exchange
    import compactor.inbound.delivery
    import compactor.inbound.response_queue
    import compactor.net.portal
    import compactor.outbound.ask_ways
    import compactor.outbound.asker
    import compactor.outbound.outbox
    import compactor.outbound.send_queue
    import compactor.pid
    import compactor.wire.body_buffer
    import compactor.wire.body_decoder
    import compactor.wire.encoder
    import compactor.wire.head_pattern
    import compactor.wire.request_decoder
    import compactor.wire.request_head  # noqa: F401


class StaleExtensions(ImportError):
    """The extensions were built from other sources than the modules beside them."""


def backend(kind: str) -> Backend:
    """The backend of a kind, one of ``PACKAGES``.

    Raises:
        ImportError: this installation of compactor does not have it.
        StaleExtensions: it has extensions that do not fit its modules.
    """
    package = PACKAGES[kind]
    try:
        parts = {
            part: getattr(import_module(f"{package}.{module}"), part)
            for part, module in MODULES.items()
        }
    except (AttributeError, TypeError, ValueError) as error:  # what Cython's modules raise
        raise StaleExtensions(
            f"the compiled extensions of compactor do not fit its modules ({error}): they were "
            "built from other sources. Build them again, in the source tree, with 'python setup.py "
            "build_ext --inplace', or install compactor again; see docs/errors.md#stale-extensions"
        ) from error
    return Backend(kind, **parts)


def choose() -> Backend:
    """The backend that the environment asks for; the fastest that is there if it does not.

    Raises:
        ImportError: extensions are required, and not there.
        StaleExtensions: there are some that do not fit.
    """
    if _is_set("COMPACTOR_NO_SPEEDUPS"):
        return backend("python")
    try:
        return backend("cython")
    except StaleExtensions:
        raise
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
