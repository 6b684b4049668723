"""``Lease``: how long all that a session holds is ours, judged by the clock of this machine."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from compactor.system.system import system


class Lease:
    """Ours until ``seconds`` after the last heartbeat was sent that the engine has acknowledged.

    The engine counts from when that heartbeat came, which is later: so who holds this gives it up
    before the engine gives it to others.  Once it is lost, it is lost for good, whatever the engine
    acknowledges afterwards.  ``is_valid`` may be read in any thread; the rest belongs to the loop.

    Args:
        seconds: what was negotiated; infinite where nothing expires.
        sent: when the request was sent that began the session.
    """

    def __init__(self, seconds: float, sent: float) -> None:
        self.seconds = seconds
        self.monotonic = system().monotonic  # of this machine, whoever reads it
        self.why = ""
        self._until = sent + seconds
        self._lock = Lock()
        self._told: dict[object, Callable[[str], object]] = {}
        self._is_told = False

    @property
    def is_valid(self) -> bool:
        """Whether it is not lost yet."""
        if self.why:
            return False
        if self.monotonic() < self._until:
            return True
        with (
            self._lock
        ):  # a heartbeat that is acknowledged right now comes before this, or too late
            if self.monotonic() >= self._until and not self.why:
                self.why = f"no heartbeat was acknowledged for the session of {self.seconds:g} s"
            return not self.why

    @property
    def left(self) -> float:
        """Seconds until it is lost, if nothing more is acknowledged."""
        return max(0.0, self._until - self.monotonic()) if not self.why else 0.0

    def renewed(self, sent: float) -> None:
        """A heartbeat was acknowledged that was sent at this time."""
        if self.is_valid:
            with self._lock:
                if self.monotonic() < self._until:
                    self._until = max(self._until, sent + self.seconds)

    def lose(self, why: str) -> None:
        """Give it up, and tell those who hold something by it."""
        with self._lock:
            self.why = self.why or why
        self._is_told = True
        told, self._told = self._told, {}
        for tell in told.values():
            tell(self.why)

    def on_lost(self, tell: Callable[[str], object]) -> Callable[[], None]:
        """Have ``tell(why)`` called on the loop when it is lost; at once if it is.

        Returns:
            What calls that off.
        """
        if self._is_told:
            tell(self.why)
            return lambda: None
        key = object()
        self._told[key] = tell

        def forget() -> None:
            self._told.pop(key, None)

        return forget
