"""``CATALOG``: every metric of a context, with its kind, unit and meaning, as docs/metrics.md."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]


class Described(NamedTuple):
    """What is known of a metric.

    Attributes:
        name: in the snapshot, ``<what>`` in it stands for a value.
        kind: whether it only grows, goes up and down, or is of many times.
        unit: what its value counts.
        meaning: in words.
        is_of_process: whether each process has one.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    is_of_process: bool = False

    @property
    def label(self) -> str:
        """What ``<what>`` in the name is; empty if there is none."""
        return self.name.partition("<")[2].rstrip(">")


def _counter(name: str, unit: str, meaning: str, is_of_process: bool = False) -> Described:
    return Described(name, "counter", unit, meaning, is_of_process)


def _gauge(name: str, unit: str, meaning: str, is_of_process: bool = False) -> Described:
    return Described(name, "gauge", unit, meaning, is_of_process)


_OF_CONTEXT = (
    _counter("messages_in", "messages", "that came from other contexts, for processes that live"),
    _counter("messages_out", "messages", "that processes sent to other contexts"),
    _counter("messages_local", "messages", "that processes sent to others of the same context"),
    _counter(
        "events_handled", "events", "messages, requests, dispatches and all else that was handled"
    ),
    _counter("bytes_in", "bytes", "of the bodies of `messages_in`"),
    _counter("bytes_out", "bytes", "of the bodies of `messages_out`"),
    _counter("dead_letters", "messages", "that were not handled and will not be"),
    _counter("dead_letters/<reason>", "messages", "the same, by [reason](links.md#reasons)"),
    _counter("handler_failures", "events", "whose handler, route or call raised"),
    _counter("slow_handlers", "events", "seen to hold the loop for longer than `slow_handler`"),
    _counter(
        "malformed", "events", "connections cut for what is no request, and paths not understood"
    ),
    _counter("tls_failures", "connections", "accepted ones without TLS, and any whose TLS broke"),
    _counter("refused_connections", "connections", "closed at once, for a bound was reached"),
    _counter("cut_connections", "connections", "given up, for their answers were not read"),
    _counter("refused_requests", "requests", "of browsers, that web pages may not make"),
    _counter("refused_credentials", "requests", "with credentials that were not taken"),
    _counter("denied_requests", "requests", "of who may not, or for what is disabled"),
    _counter("dials", "dials", "attempts to connect to another context"),
    _counter("dial_failures", "dials", "that failed"),
    _counter("dial_failures/<reason>", "dials", "the same, by [reason](links.md#reasons)"),
    _counter(
        "connections_lost", "connections", "to other contexts, that ended without being closed here"
    ),
    _counter("connections_lost/<reason>", "connections", "the same, by [reason](links.md#reasons)"),
    _gauge(
        "connections/<state>",
        "connections",
        "`accepted`, `outgoing`, `dialling`, and `closing` outgoing ones",
    ),
    _counter("reading_pauses", "pauses", "of a connection whose mailboxes were full"),
    _counter("writing_pauses", "pauses", "of a connection that took no more"),
    _gauge("parked_messages", "messages", "that wait for a connection, or for room in one"),
    _gauge("parked_bytes", "bytes", "of these, with their heads"),
    _gauge("parked_bytes/<destination>", "bytes", "the same by `ip:port`, of the 64 with most"),
    _gauge("backed_up", "addresses", "for which more than `parked_high_water_bytes` wait"),
    _gauge("asks_outstanding", "asks", "that wait for an answer"),
    _counter(
        "asks/<outcome>",
        "asks",
        "`answered`, `failed` in the handler, `timed_out`, and `unanswered` for good",
    ),
    _counter("restarts", "processes", "that were started anew after a failure"),
    _gauge("processes", "processes", "that live"),
    _gauge("mailbox_depth", "events", "that wait in all mailboxes"),
    _gauge("mailbox_high_water", "events", "that have waited in one mailbox at a time, at most"),
    Described(
        "handler_ms",
        "histogram",
        "ms",
        "from when an event began to be handled to when the next one could be",
    ),
    Described(
        "mailbox_wait_ms",
        "histogram",
        "ms",
        "from when an event was put into a mailbox until it began to be handled",
    ),
    Described(
        "loop_lag_ms", "histogram", "ms", "that the loop took to come to what it was to do next"
    ),
)

_OF_PROCESS = (
    _counter("messages_in", "messages", "that were put into its mailbox, from anywhere", True),
    _counter("messages_out", "messages", "that it sent, to its own context as well", True),
    _counter("messages_local", "messages", "of these, those to its own context", True),
    _counter(
        "events_handled", "events", "messages, requests, dispatches and all else it handled", True
    ),
    _counter("bytes_in", "bytes", "of the bodies that came from other contexts", True),
    _counter("bytes_out", "bytes", "of the bodies that it sent to other contexts", True),
    _counter("handler_failures", "events", "whose handler, route or call raised", True),
    _counter(
        "dead_letters/<reason>", "messages", "that were for it, by [reason](links.md#reasons)", True
    ),
    _counter("restarts", "restarts", "after failures", True),
    _gauge("mailbox_depth", "events", "that wait", True),
    _gauge("mailbox_high_water", "events", "that have waited at a time, at most", True),
    Described(
        "handler_ms", "histogram", "ms", "as of the context; only with `process_histograms`", True
    ),
    Described(
        "mailbox_wait_ms",
        "histogram",
        "ms",
        "as of the context; only with `process_histograms`",
        True,
    ),
)

CATALOG = (*_OF_CONTEXT, *_OF_PROCESS)
"""First those of the context, then those that each process has."""
