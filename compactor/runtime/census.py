"""``Census``: what a context and its processes have counted, summed up when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappush, heappushpop, nlargest
from typing import TYPE_CHECKING, Any

from compactor.actor.mailbox import Mailbox
from compactor.actor.measuring import metrics_of
from compactor.metrics.dead_letters import DeadLetter
from compactor.metrics.readings import Reading
from compactor.runtime.gauges import read_gauges

if TYPE_CHECKING:
    from compactor.metrics.user_metrics import UserMetrics
    from compactor.runtime.runtime import Runtime

_SUMS = ("arrived", "sent", "local", "handled", "bytes_in", "bytes_out", "restarts")
_MAX_DESTINATIONS = 64  # that parked bytes are shown of, one by one
_STEP = 64  # processes that are looked at in a step


class Census:
    """The sums of one context.

    Args:
        runtime: of the context.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._ended: dict[str, int] = dict.fromkeys(_SUMS, 0)
        self._deepest = 0
        runtime.run_queue.samples.is_by_process = runtime.settings.process_histograms
        runtime.metrics.hooks.append(self._add_letter)
        runtime.metrics.census = self

    def add_ended(self, mailbox: Mailbox) -> None:
        """Keep what a process has counted, which ends."""
        self._deepest = max(self._deepest, mailbox.counts.deepest)
        for name in _SUMS:
            self._ended[name] += getattr(mailbox.counts, name)

    def _add_letter(self, letter: DeadLetter) -> None:
        """Count a dead letter for a process that lives."""
        to = letter.to
        mailbox = None if to is None else self._runtime.registry.mailbox_of(to)
        if mailbox is not None:
            counts = mailbox.counts.own(mailbox)
            if counts.letters is None:
                counts.letters = {}
            counts.letters[letter.reason] = counts.letters.get(letter.reason, 0) + 1

    def take(self) -> Iterator[list[Reading] | None]:
        """Read all there is, of the context and of the processes that handled most.

        Returns:
            Steps, each of less than a millisecond; the last is what was read.
        """
        sums: dict[str, int] = dict(self._ended)
        depth, deepest = 0, self._deepest
        busiest: list[tuple[int, int, Mailbox]] = []  # a heap
        measuring: list[tuple[int, int, Mailbox]] = []
        most = self._runtime.settings.max_process_metrics
        mailboxes = list(self._runtime.registry.live.values())
        for number, mailbox in enumerate(mailboxes):
            if number % _STEP == _STEP - 1:
                yield None
            counts, waiting = mailbox.counts, len(mailbox.queue)
            depth += waiting
            deepest = max(deepest, counts.deepest, waiting)
            handled = 0 if counts.is_shared else counts.handled
            _add(busiest, (handled, -number, mailbox), most)
            if metrics_of(mailbox.process) is not None:
                _add(measuring, (handled, -number, mailbox), most)
            if not counts.is_shared:
                for name in _SUMS:
                    sums[name] += getattr(counts, name)
        found = list(self._of_context(sums))
        found.append(Reading("processes", len(mailboxes)))
        found.append(Reading("mailbox_depth", depth))
        found.append(Reading("mailbox_high_water", deepest))
        yield None
        for *_, mailbox in sorted(busiest, reverse=True):
            found += _of_process(mailbox)
            yield None
        for *_, mailbox in sorted(measuring, reverse=True):
            found += _of_user(mailbox)
            yield None
        yield found

    async def gauges(self, seconds: float) -> list[Reading]:
        """Read the gauges that are functions."""
        return await read_gauges(list(self._runtime.registry.live.values()), seconds)

    def _of_context(self, sums: dict[str, int]) -> Iterator[Reading]:
        samples = self._runtime.run_queue.samples
        asks = self._runtime.asks
        yield Reading("messages_in", sums["arrived"])
        yield Reading("messages_out", sums["sent"])
        yield Reading("messages_local", sums["local"])
        yield Reading("events_handled", sums["handled"])
        yield Reading("bytes_in", sums["bytes_in"])
        yield Reading("bytes_out", sums["bytes_out"])
        yield Reading("restarts", sums["restarts"])
        yield Reading("handler_ms", samples.times.handler)
        yield Reading("mailbox_wait_ms", samples.times.wait)
        yield Reading("loop_lag_ms", samples.loop_lag)
        yield Reading("asks_outstanding", asks.waiting)
        yield Reading("asks/<outcome>", asks.answers, "answered")
        yield Reading("asks/<outcome>", asks.failures, "failed")
        yield Reading("asks/<outcome>", asks.timeouts, "timed_out")
        yield Reading("asks/<outcome>", asks.unanswered, "unanswered")
        yield from self._of_connections()

    def _of_connections(self) -> Iterator[Reading]:
        runtime = self._runtime
        found = (reference() for reference in runtime.peers.valuerefs())  # any thread may ask
        peers = [peer for peer in found if peer is not None]
        connected = sum(peer.is_connected for peer in peers)
        for state, number in (
            ("accepted", len(runtime.server.state.connections)),
            ("outgoing", connected),
            ("dialling", sum(peer.is_dialling for peer in peers)),
            ("closing", max(len(runtime.outgoing) - connected, 0)),
        ):
            yield Reading("connections/<state>", number, state)
        parked = [(peer.send_queue.size, peer.address) for peer in peers if peer.send_queue.size]
        yield Reading("parked_messages", sum(peer.send_queue.parked for peer in peers))
        yield Reading("parked_bytes", sum(size for size, _ in parked))
        for size, (ip, port) in nlargest(_MAX_DESTINATIONS, parked):
            yield Reading("parked_bytes/<destination>", size, f"{ip}:{port}")


def _add(heap: list[Any], entry: Any, most: int) -> None:
    """Keep an entry if it is one of so many that are the largest."""
    (heappush if len(heap) < most else heappushpop)(heap, entry)


def _of_process(mailbox: Mailbox) -> Iterable[Reading]:
    counts, waiting, id_ = mailbox.counts, len(mailbox.queue), mailbox.pid.id
    is_new = counts.is_shared
    values: dict[str, Any] = {
        "messages_in": 0 if is_new else max(counts.handled + waiting - counts.others, 0),
        "messages_out": counts.sent + counts.local,
        "messages_local": counts.local,
        "events_handled": 0 if is_new else counts.handled,
        "handler_failures": counts.failures,
        "restarts": counts.restarts,
        "bytes_in": counts.bytes_in,
        "bytes_out": counts.bytes_out,
        "mailbox_depth": waiting,
        "mailbox_high_water": max(counts.deepest, waiting),
    }
    if counts.times is not None:
        values["handler_ms"] = counts.times.handler
        values["mailbox_wait_ms"] = counts.times.wait
    for reason, number in dict(counts.letters or {}).items():
        yield Reading("dead_letters/<reason>", number, reason.value, id_)
    for name, value in values.items():
        yield Reading(name, value, process=id_)


def _of_user(mailbox: Mailbox) -> Iterable[Reading]:
    measured: UserMetrics | None = metrics_of(mailbox.process)
    for name, kind, value in measured.read() if measured is not None else ():
        yield Reading(name, value, process=mailbox.pid.id, kind=kind)
