"""``MemoryServer``: a process that keeps names for others, with sessions that expire.

It does in one process what servers of ZooKeeper do: for tests, also in simulations, and for
development.  Nothing is stored: once it ends, all is gone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from compactor.pid import PID
from compactor.process import Process
from compactor.system import clock
from compactor.system.system import system

MEMORY = "cluster-memory"
"""The id of the process."""

TICK = 0.1
"""Seconds between two looks at who has been silent for too long."""

LEAST_SESSION, LONGEST_SESSION = 0.2, 3600.0

_MOST_SESSIONS = 10_000
_MOST_RECORDS = 20_000  # of one session
_LONGEST_RECORD = 65536


class _Session:
    """Who has one, and what it holds."""

    def __init__(self, seconds: float, now: float) -> None:
        self.seconds = seconds
        self.heard = now
        self.records: dict[tuple[str, str], None] = {}  # in their order


class _Place:
    """Records by their ids, and who waits for a change."""

    def __init__(self) -> None:
        self.records: dict[str, list[Any]] = {}
        self.version = 0
        self.waiting: dict[str, Callable[[Any], Any]] = {}  # by session


class MemoryServer(Process):
    """Keeps names for clusters with a URL ``memory://host:port/path``: those of its context."""

    def __init__(self) -> None:
        super().__init__(MEMORY)
        self._sessions: dict[str, _Session] = {}
        self._places: dict[str, _Place] = {}
        # What comes after a restart is greater than what was before.
        self._order = int(clock.date() * 1e6)

    def initialize(self) -> None:
        self.every(TICK, self._look)

    # What is asked; each is answered with JSON

    @Process.answer("cluster.begin")
    def begin(self, from_pid: PID, body: bytes) -> bytes:
        """Begin a session: how many seconds it has."""
        asked = json.loads(body)
        if len(self._sessions) >= _MOST_SESSIONS:
            return b'{"refused": "there are too many sessions"}'
        seconds = min(max(float(asked["seconds"]), LEAST_SESSION), LONGEST_SESSION)
        self._sessions[asked["session"]] = _Session(seconds, system().monotonic())
        return json.dumps({"seconds": seconds}).encode()

    @Process.answer("cluster.renew")
    def renew(self, from_pid: PID, body: bytes) -> bytes:
        """A heartbeat."""
        return b"{}" if self._session_of(json.loads(body)) else _EXPIRED

    @Process.answer("cluster.end")
    def end(self, from_pid: PID, body: bytes) -> bytes:
        """End a session."""
        self._end(json.loads(body)["session"])
        return b"{}"

    @Process.answer("cluster.put")
    def put(self, from_pid: PID, body: bytes) -> bytes:
        """Put a record: its order."""
        asked = json.loads(body)
        session = self._session_of(asked)
        if session is None:
            return _EXPIRED
        path, id_, value = asked["place"], asked["id"], asked["value"]
        place = self._places.setdefault(path, _Place())
        if id_ not in place.records:
            if len(value) > _LONGEST_RECORD or len(session.records) >= _MOST_RECORDS:
                return b'{"refused": "the record is too large, or there are too many"}'
            self._order += 1
            place.records[id_] = [self._order, value]
            session.records[path, id_] = None
            self._changed(path)
        return json.dumps({"order": place.records[id_][0]}).encode()

    @Process.answer("cluster.remove")
    def remove(self, from_pid: PID, body: bytes) -> bytes:
        """Take a record away."""
        asked = json.loads(body)
        session = self._session_of(asked)
        if session is None:
            return _EXPIRED
        key = asked["place"], asked["id"]
        if key in session.records:
            del session.records[key]
            self._drop(*key)
        return b"{}"

    @Process.answer("cluster.watch")
    def watch(self, from_pid: PID, body: bytes) -> Any:
        """Wait for a place to have another version than the one that is known, for some time."""
        asked = json.loads(body)
        if self._session_of(asked) is None:
            return _EXPIRED
        path, who = asked["place"], asked["session"]
        place = self._places.setdefault(path, _Place())
        before = place.waiting.pop(who, None)
        if before is not None:
            before(_UNCHANGED)
        if place.version != asked["version"]:
            self._forget(path)
            return _told(place)
        reply = self.defer_reply()
        place.waiting[who] = reply
        self.delay(min(float(asked["wait"]), 60.0), self._unchanged, path, who, reply)
        return None

    @Process.install("cluster.unwatch")
    def unwatch(self, from_pid: PID, body: bytes) -> None:
        """Somebody waits no more, and is not answered."""
        told = json.loads(body)
        place = self._places.get(told["place"])
        if place is not None and place.waiting.pop(told["session"], None) is not None:
            self._forget(told["place"])

    # What happens

    def _session_of(self, asked: dict[str, Any]) -> _Session | None:
        session = self._sessions.get(asked["session"])
        if session is not None:
            now = system().monotonic()
            if now - session.heard >= session.seconds:  # it comes before the next look
                self._end(asked["session"])
                return None
            session.heard = now
        return session

    def _look(self) -> None:
        now = system().monotonic()
        for id_, session in list(self._sessions.items()):
            if now - session.heard >= session.seconds:
                self._end(id_)

    def _end(self, id_: str) -> None:
        session = self._sessions.pop(id_, None)
        for path, record in () if session is None else session.records:
            self._drop(path, record)

    def _drop(self, path: str, id_: str) -> None:
        del self._places[path].records[id_]
        self._changed(path)

    def _changed(self, path: str) -> None:
        place = self._places[path]
        self._order += 1
        place.version = self._order
        waiting, place.waiting = place.waiting, {}
        for reply in waiting.values():
            reply(_told(place))
        self._forget(path)

    def _unchanged(self, path: str, who: str, reply: Callable[[Any], Any]) -> None:
        place = self._places.get(path)
        if place is not None and place.waiting.get(who) is reply:
            del place.waiting[who]
            reply(_UNCHANGED)
            self._forget(path)

    def _forget(self, path: str) -> None:
        """A place that nobody uses takes no memory."""
        place = self._places[path]
        if not place.records and not place.waiting:
            del self._places[path]


_EXPIRED = b'{"expired": true}'
_UNCHANGED = b'{"unchanged": true}'


def _told(place: _Place) -> bytes:
    records = [[id_, *record] for id_, record in place.records.items()]
    return json.dumps({"version": place.version, "records": records}).encode()
