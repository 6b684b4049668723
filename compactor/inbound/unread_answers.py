"""``UnreadAnswers``: the answers that peers have not read, how many bytes, and whose have to go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

_COUNTED = 64 * 1024  # bytes of one connection; a transport with less of them is not full
_SLACK = 16  # a look at all comes when a sixteenth of the bound was added since the last one


class UnreadOwner(Protocol):
    """What is asked of a connection whose peer may not read."""

    @property
    def unread_bytes(self) -> int: ...
    @property
    def unacknowledged_bytes(self) -> int: ...
    @property
    def is_unread(self) -> bool: ...
    def cut(self, why: str) -> None: ...


class _Entry:
    """What is known of one connection: its bytes at the last look, and when it last read any.

    A transport hears of room only when a third of the system's buffer is free, so what is in there
    tells of slow readers.
    """

    __slots__ = ("on_its_way", "since", "size")

    def __init__(self, since: float) -> None:
        self.size = 0
        self.on_its_way = 0
        self.since = since


class UnreadAnswers:
    """The connections of one server that more than 64 KiB of answers wait for.

    Connections are looked at when they get more, and now and again; who reads costs nothing.

    Args:
        max_bytes: of one connection, before it is given one more answer.
        max_total: of all, before another one's are added, within a sixteenth.
        timeout: seconds after which a connection is cut that reads nothing.
        clock: tells the time.
    """

    def __init__(
        self, max_bytes: int, max_total: int, timeout: float, clock: Callable[[], float]
    ) -> None:
        self._max_bytes = max_bytes
        self._max_total = max_total
        self._timeout = timeout
        self._clock = clock
        self._entries: dict[UnreadOwner, _Entry] = {}  # oldest first
        self.total = 0  # bytes at the last looks
        self._most = max_total  # of them before all are looked at

    def may_add(self, reader: UnreadOwner) -> bool:
        """Whether a connection may be given one more answer; if not, it is cut."""
        entry = self._entries.get(reader)
        if entry is None:
            return True
        self._look(reader, entry, self._clock())
        if entry.size <= self._max_bytes:
            return True
        self._cut(reader, f"it has not read {entry.size} bytes of its answers, and there are more")
        return False

    def added(self, reader: UnreadOwner) -> None:
        """A connection has been given more, or reads again."""
        size = reader.unread_bytes
        if size <= _COUNTED:
            self.forget(reader)
            return
        entry = self._entries.get(reader)
        if entry is None:
            entry = self._entries[reader] = _Entry(self._clock())
        self.total += size - entry.size
        entry.size = size
        entry.on_its_way = reader.unacknowledged_bytes
        if self.total > self._most:
            self._make_room(reader)

    def forget(self, reader: UnreadOwner) -> None:
        """A connection has ended, or has read."""
        entry = self._entries.pop(reader, None)
        if entry is not None:
            self.total -= entry.size

    def cut_idle(self) -> Iterator[None]:
        """Cut the connections that have read nothing for too long, one by one."""
        now = self._clock()
        for reader in list(self._entries):
            entry = self._entries.get(reader)
            if entry is not None:
                self._look(reader, entry, now)
                if now - entry.since >= self._timeout:
                    self._cut(reader, f"it has read none of its answers for {self._timeout:g} s")
            yield
        if self.total > self._max_total:
            self._make_room(None)

    def _look(self, reader: UnreadOwner, entry: _Entry, now: float) -> None:
        size = reader.unread_bytes
        on_its_way = reader.unacknowledged_bytes
        if on_its_way < entry.on_its_way or not reader.is_unread:
            entry.since = now
        entry.on_its_way = on_its_way
        self.total += size - entry.size
        entry.size = size

    def _make_room(self, newest: UnreadOwner | None) -> None:
        """Cut those who have read nothing for longest, if there is too much at this look, too.

        Args:
            newest: who was given more; without one, whoever has read since the last look stays.
        """
        now = self._clock()
        for reader, entry in self._entries.items():
            self._look(reader, entry, now)
        if self.total > self._max_total:
            for reader, entry in sorted(self._entries.items(), key=lambda item: item[1].since):
                if reader is not newest and (newest is not None or entry.since < now):
                    self._cut(reader, "too much waits to be read, and it has read none for longest")
                    if self.total <= self._max_total:
                        break
        self._most = max(self._max_total, self.total + self._max_total // _SLACK)

    def _cut(self, reader: UnreadOwner, why: str) -> None:
        self.forget(reader)
        reader.cut(why)
