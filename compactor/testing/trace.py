"""``Trace``: what happened in a run, event by event, and a digest that tells runs apart.

Events are tuples of texts, and the digest is fed in blocks: a run has millions of them.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from compactor.metrics.logs import readable
from compactor.testing.sequence_diagrams import Step, mermaid, text

SEND, DELIVER, DROP = "send", "deliver", "drop"
EXIT, TIMER, FAULT, LINK = "exit", "timer", "fault", "link"

KINDS = frozenset({SEND, DELIVER, DROP, EXIT, TIMER, FAULT, LINK})
"""What an event may be.

``send``, ``deliver``, ``drop``: a message, whose ``detail`` says why it was dropped.
``exit``: ``sender`` has ended, and ``to`` is told.  ``timer``: one of ``to`` is over.
``fault``: what was done to a host or the network.  ``link``: the state of a connection or of the
network between two hosts.
"""

_Values = tuple[float, str, str, str, str, str, str]

_BLOCK = 512  # events that the digest is fed at once
_DIGEST_BYTES = 16
_MARK, _END = "\x1f", "\x1e"  # between and behind the texts of an event, for the digest
_LABEL = 60  # characters of a text in a diagram


class TraceEvent(NamedTuple):
    """One thing that happened.

    Attributes:
        seconds: since the beginning of the run.
        host: where.
        kind: one of ``KINDS``.
        sender, to: between whom, as far as there is somebody.
        name: of the message, timer or fault.
        detail: whatever else there is to say, such as the reason of a drop.
    """

    seconds: float
    host: str
    kind: str
    sender: str
    to: str
    name: str
    detail: str

    def line(self) -> str:
        """The event as one line for people; odd characters are escaped."""
        who = " -> ".join(filter(None, (self.sender, self.to)))
        parts = (self.host, f"{self.kind:<7}", who, self.name, self.detail)
        words = "  ".join(readable(part) for part in parts if part)
        return f"{self.seconds:12.6f}  {words}"


class Trace:
    """The events of a run.

    Args:
        keep: how many of the last events are remembered, None for all.  The digest is that of
            all anyhow.

    Raises:
        ValueError: ``keep`` is below 1.
        TypeError: it is no number.
    """

    __slots__ = ("_events", "_fed", "_texts_hash", "_times_hash", "_unfed")

    def __init__(self, keep: int | None = None) -> None:
        if keep is not None:
            if not isinstance(keep, int) or isinstance(keep, bool):
                raise TypeError(f"keep must be a number of events, or None, got {keep!r}")
            if keep < 1:
                raise ValueError(f"keep must be at least 1 event, got {keep}")
        self._events: deque[_Values] = deque(maxlen=keep)
        self._texts_hash, self._times_hash = _new_hash(), _new_hash()
        self._unfed: list[_Values] = []
        self._fed = 0

    @property
    def keep(self) -> int | None:
        """How many of the last events are remembered; None for all."""
        return self._events.maxlen

    @property
    def count(self) -> int:
        """How many events there were."""
        return self._fed + len(self._unfed)

    def add(
        self,
        seconds: float,
        host: str,
        kind: str,
        sender: Any = "",
        to: Any = "",
        name: str = "",
        detail: str = "",
    ) -> None:
        """Something has happened; the arguments are those of ``TraceEvent``.

        Args:
            sender, to: anything whose text says who it is, such as a ``PID``.

        Raises:
            ValueError: there is no such kind, or ``seconds`` is not finite.
        """
        if kind not in KINDS:
            raise ValueError(f"an event is one of {', '.join(sorted(KINDS))}, got {kind!r}")
        if not math.isfinite(seconds):
            raise ValueError(f"an event has a finite number of seconds, got {seconds!r}")
        self.note((float(seconds), str(host), kind, str(sender), str(to), str(name), str(detail)))

    def note(self, values: _Values) -> None:
        """``add``, for those who add often: what an event has, a finite ``float`` and texts."""
        self._events.append(values)
        unfed = self._unfed
        unfed.append(values)
        if len(unfed) >= _BLOCK:
            self._feed()

    def _feed(self) -> None:
        """Have the digest take what is new: the same on every Python, and for no others."""
        unfed = self._unfed
        count = len(unfed)
        lines = "".join([_MARK.join(values[1:]) + _END for values in unfed])
        if lines.count(_MARK) != 5 * count or lines.count(_END) != count:
            lines = "".join([_line(values[1:]) for values in unfed])
        self._texts_hash.update(lines.encode("utf-8", "surrogatepass"))
        self._times_hash.update(struct.pack(f">{count}d", *[values[0] for values in unfed]))
        self._fed += count
        unfed.clear()

    @property
    def digest(self) -> str:
        """32 hexadecimal digits, of all events so far: the same for the same events in the same
        order, on every machine and Python.
        """
        self._feed()
        both = _new_hash()
        both.update(self._texts_hash.digest() + self._times_hash.digest())
        return both.hexdigest()

    def __iter__(self) -> Iterator[TraceEvent]:
        return map(TraceEvent._make, self._events)

    def __len__(self) -> int:
        """How many events are remembered."""
        return len(self._events)

    def __repr__(self) -> str:
        return f"<Trace of {self.count} events, {self.digest}>"

    def last(self, count: int | None = None) -> list[TraceEvent]:
        """The last events that are remembered, so many at most; None for all.

        Raises:
            ValueError: ``count`` is below 0.
        """
        events = list(self)
        if count is None:
            return events
        if count < 0:
            raise ValueError(f"count must be at least 0, got {count}")
        return events[max(len(events) - count, 0) :]

    def lines(self, count: int | None = None) -> list[str]:
        """The last events, as lines for people: seconds, host, kind, from whom to whom, what."""
        return [event.line() for event in self.last(count)]

    def json(self, count: int | None = None) -> str:
        """The last events as JSON: a list of objects, each on a line of its own."""
        objects = []
        for event in self.last(count):
            fields = event._asdict()
            fields = {("from" if key == "sender" else key): fields[key] for key in fields}
            objects.append(json.dumps(fields))
        return "[\n" + ",\n".join(objects) + "\n]\n" if objects else "[]\n"

    def diagram(self, count: int | None = None) -> str:
        """The last events as a sequence diagram in text, time going down."""
        return text(_steps(self.last(count)))

    def mermaid(self, count: int | None = None) -> str:
        """The last events as a sequence diagram for Mermaid."""
        return mermaid(_steps(self.last(count)))

    def report(self, count: int = 40, replay: str = "") -> str:
        """What a test that failed prints: the last stretch, and how to see it again.

        Args:
            count: of events.
            replay: a command that runs the same once more; left out if empty.
        """
        lines = self.lines(count)
        head = f"The last {len(lines)} of {self.count} events (digest {self.digest}):"
        if not lines:
            head = "No events."
        return "\n".join([head, *lines, *([f"Replay: {replay}"] if replay else [])]) + "\n"


def _line(texts: tuple[str, ...]) -> str:
    """The texts of an event for the digest, some of which may have the marks in them."""
    line = _MARK.join(texts) + _END
    return line if line.count(_MARK) == 5 and line.count(_END) == 1 else ascii(texts) + _END


def _new_hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=_DIGEST_BYTES)


def _steps(events: list[TraceEvent]) -> list[Step]:
    """What diagrams show: a message once, where it arrived, was dropped, or is still on its way."""
    sent: dict[tuple[str, str, str], deque[int]] = {}
    steps: list[Step | None] = []
    for event in events:
        key = (event.sender, event.to, event.name)
        if event.kind == SEND:
            sent.setdefault(key, deque()).append(len(steps))
        elif event.kind in (DELIVER, DROP) and sent.get(key):
            steps[sent[key].popleft()] = None
        steps.append(_step(event))
    return [step for step in steps if step is not None]


def _label(text: str) -> str:
    shown = readable(text)
    return shown if len(shown) <= _LABEL else f"{shown[: _LABEL - 3]}..."


def _step(event: TraceEvent) -> Step:
    label, seconds = event.name, event.seconds
    if event.kind in (FAULT, LINK):
        ends = [end for end in (event.sender, event.to) if end] or [event.host]
        label = f"{event.kind}: {' '.join(filter(None, (event.name, *ends, event.detail)))}"
        return Step(seconds, "", "", _label(label), "note")
    if event.kind == EXIT:
        label = f"exited {event.name}".rstrip()
    elif event.kind == TIMER:
        label = f"timer {event.name}".rstrip()
    if event.detail and event.kind in (DROP, EXIT):
        label += f" ({event.detail})"
    if event.kind == SEND:
        label += " (on its way)"
    here = event.to or event.sender or event.host
    style = {DROP: "lost", SEND: "open"}.get(event.kind, "arrow")
    return Step(seconds, _label(event.sender or here), _label(here), _label(label), style)
