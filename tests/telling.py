"""What a failed test tells by itself: of every context that lives its counters, dead letters,
connections and what its thread does; of every receiver its messages and exits; and whether the
machine let the test run at all.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from compactor import Context, DeadLetter
from tests.actors import Receiver

Found = TypeVar("Found")

_LAST = 10  # of each kind; the newest say most

_letters: weakref.WeakKeyDictionary[Context, deque[DeadLetter]] = weakref.WeakKeyDictionary()
_told: weakref.WeakSet[Any] = weakref.WeakSet()  # of tests before, which failed


def watch(context: Context) -> Context:
    """Remember the dead letters of a context from now on."""
    letters = _letters[context] = deque(maxlen=_LAST)
    context.on_dead_letter(letters.append)
    return context


def tell(began: float) -> str:
    """All that can be said of the contexts and receivers of a test, before they end.

    Args:
        began: when the test began, on ``time.monotonic``.
    """
    lines = [f"{time.monotonic() - began:.2f} s after the beginning of the test"]
    if hasattr(os, "getloadavg"):
        lines.append(f"load of the machine: {os.getloadavg()[0]:.1f}, on {os.cpu_count()} cores")
    for thread in threading.enumerate():
        lines.append(_safely(lambda thread=thread: _thread(thread)))  # type: ignore[misc]
    for context in _new(Context):
        lines += [f"{context}:", *(f"    {line}" for line in _context(context))]
    for receiver in _new(Receiver):
        lines += [f"{receiver!r}:", *(f"    {line}" for line in _receiver(receiver))]
    return "\n".join(lines)


def _new(kind: type[Found]) -> list[Found]:
    """The objects of a kind of which no test before has told."""
    gc.collect()
    found = [it for it in gc.get_objects() if issubclass(type(it), kind) and it not in _told]
    for it in found:
        _told.add(it)
    return found


def _safely(say: Callable[[], str]) -> str:
    try:
        return say()
    except Exception as error:  # what is told of a failure must not fail, too
        return f"({error!r})"


def _thread(thread: threading.Thread) -> str:
    """Its time, and how long it waited for a processor that others had; what it does."""
    said = f"thread {thread.name}"
    schedstat = Path(f"/proc/self/task/{thread.native_id}/schedstat")
    if schedstat.exists():
        ran, waited = (int(word) / 1e9 for word in schedstat.read_text().split()[:2])
        said += f": ran for {ran:.2f} s, waited for a processor for {waited:.2f} s"
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None or thread is threading.current_thread():
        return said
    stack = traceback.extract_stack(frame)[-4:]
    return f"{said}\n    in " + " > ".join(
        f"{Path(at.filename).name}:{at.lineno} {at.name}" for at in stack
    )


def _context(context: Any) -> Iterator[str]:
    yield "runs" if context.is_alive() else "does not run"
    counts = {name: count for name, count in context.metrics.snapshot().items() if count}
    for name in list(counts):
        if "_ms" in name:  # times say little of a test
            del counts[name]
    yield f"counters: {counts or 'all 0'}"
    if context in _letters:
        yield f"dead letters: {[str(letter) for letter in _letters[context]] or 'none'}"
    yield _safely(lambda: "peers: " + "; ".join(map(_peer, context._runtime.peers.values())))
    yield _safely(
        lambda: "accepted: " + "; ".join(map(_accepted, list(context._runtime.server.connections)))
    )


def _peer(peer: Any) -> str:
    flow = peer.send_queue
    state = "connected" if peer.is_connected else "idle" if peer.is_idle else "being dialled"
    return (
        f"{peer.address} {state}, {flow.parked} frames of {flow.size} bytes are parked, "
        f"{'full' if flow.is_full else 'not full'}, "
        f"links that it is to tell of: {sorted(peer.links._asked)}"
    )


def _accepted(connection: Any) -> str:
    gate, inbound, decoder = connection._gate, connection._delivery, connection._decoder
    return (
        f"from {connection.peer}, held by {list(gate._held)}, resting: {gate.is_resting}, "
        f"behind: {inbound.is_behind}, missing of a body: {decoder.body.missing}, "
        f"{connection._transport!r}"
    )


def _receiver(receiver: Receiver) -> Iterator[str]:
    for name, events in (("messages", receiver.received), ("exits", receiver.exits)):
        taken = [_short(it) for it in events.taken]
        left = [_short(it) for it in list(events._items.queue)[-_LAST:]]
        yield f"{name}, the last: taken {taken}, not taken {left}"


def _short(item: Any) -> str:
    said = repr(item)
    return said if len(said) <= 120 else f"{said[:100]}... ({len(said)})"
