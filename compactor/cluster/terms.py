"""``Term`` and ``Fence``: who leads since when, and what keeps those out who led before."""

from __future__ import annotations

from threading import Lock

from compactor.cluster.errors import Fenced
from compactor.cluster.lease import Lease


class Term(int):
    """The number of a leadership: later leaders of the same name have greater ones.

    It travels in messages as the int that it is; only here it knows whether it is valid.

    Attributes:
        name: what is led.
    """

    name: str
    _lease: Lease
    _is_over: bool

    def __new__(cls, number: int, name: str, lease: Lease) -> Term:
        """A term that begins with a lease."""
        self = super().__new__(cls, number)
        self.name = name
        self._lease = lease
        self._is_over = False
        return self

    @property
    def valid(self) -> bool:
        """Whether this program leads, as far as its own clock tells; from any thread.

        Once it is False, it stays so.
        """
        return not self._is_over and self._lease.is_valid

    def end(self) -> None:
        """It is over; ``lead`` calls this at the end of its block."""
        self._is_over = True

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)


class Fence:
    """Keeps messages of former leaders from a resource; from any thread.

    Whoever writes to a resource sends the term along, and the resource checks it::

        fence.check(message.term)  # raises Fenced if a later leader was here before

    Args:
        newest: the newest term that was accepted, where it was stored with the resource.

    Raises:
        TypeError, ValueError: it is no term.
    """

    def __init__(self, newest: int = 0) -> None:
        self._newest = _checked(newest)
        self._lock = Lock()

    @property
    def newest(self) -> int:
        """The newest term that was accepted; 0 for none."""
        return self._newest

    def check(self, term: int) -> None:
        """Accept a term, unless a newer one was accepted.

        Raises:
            Fenced: it is older.
            TypeError, ValueError: it is no term.
        """
        number = _checked(term)
        with self._lock:
            if number < self._newest:
                raise Fenced(
                    f"term {number} is over: term {self._newest} was accepted here",
                    number,
                    self._newest,
                )
            self._newest = number


def _checked(term: int) -> int:
    if isinstance(term, bool) or not isinstance(term, int):
        raise TypeError(f"a term is the int that lead() gives, got {term!r}")
    if term < 0:
        raise ValueError(f"a term is not negative, got {term}")
    return int(term)
