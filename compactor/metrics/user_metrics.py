"""``Counter``, ``Gauge``, ``Timer``: what a program measures in its own processes."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from compactor.metrics.histogram import Histogram
from compactor.metrics.logs import log
from compactor.system import clock

MAX_METRICS = 128  # of one process
_LONGEST = 100  # characters of a name
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:/[A-Za-z0-9_]+)*", re.ASCII)
_TAKEN = ("_total", "_created", "_count", "_sum", "_bucket", "_info")  # by Prometheus
_begun: ContextVar[tuple[Any, ...]] = ContextVar("compactor timers", default=())

Number = int | float
Reads = Callable[[], Number | Awaitable[Number]]
Kind = TypeVar("Kind", bound="Counter | Gauge | Timer")
Function = TypeVar("Function", bound=Callable[..., Any])


class Counter:
    """A number that only grows.  Any thread may add to it.

    Attributes:
        name: in the metrics of its process.
    """

    __slots__ = ("_lock", "_value", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._value: Number = 0
        self._lock = threading.Lock()

    @property
    def value(self) -> Number:
        """What it has come to."""
        return self._value

    def add(self, number: Number = 1) -> None:
        """Count some more.

        Raises:
            TypeError, ValueError: it is no number, or a negative or infinite one.
        """
        check_number(number)
        if number < 0:
            raise ValueError(f"counter {self.name!r} only grows, got {number}; a gauge falls too")
        with self._lock:
            self._value += number


class Gauge:
    """A number that goes up and down.  Any thread may set it.

    Args:
        name: in the metrics of its process.
        read: called for each reading, in a turn of its process; it may be ``async``.  None for a
            gauge that is set.
    """

    __slots__ = ("_lock", "_value", "name", "read")

    def __init__(self, name: str, read: Reads | None = None) -> None:
        self.name = name
        self.read = read
        self._value: Number = 0
        self._lock = threading.Lock()

    @property
    def value(self) -> Number:
        """What it was set to."""
        return self._value

    def set(self, number: Number) -> None:
        """Have it show a number.

        Raises:
            TypeError, ValueError: it is no number, or infinite; or the gauge reads a function.
        """
        self._check(number)
        self._value = number

    def add(self, number: Number = 1) -> None:
        """Have it show so much more, or less.

        Raises:
            TypeError, ValueError: as for ``set``.
        """
        self._check(number)
        with self._lock:
            self._value += number

    def _check(self, number: Number) -> None:
        check_number(number)
        if self.read is not None:
            raise ValueError(f"gauge {self.name!r} reads a function, and cannot be set")


class Timer:
    """How long something takes, each time; of all times there are percentiles.

    It times the body of a ``with`` statement, or each call of the function that it decorates, also
    of an ``async`` one::

        with self.metrics.timer("parse"):
            ...

    Any thread, and any number of handlers at a time, may use one.

    Attributes:
        name: in the metrics of its process.
        times: all times so far.
    """

    __slots__ = ("_lock", "name", "times")

    def __init__(self, name: str) -> None:
        self.name = name
        self.times = Histogram()
        self._lock = threading.Lock()

    def record(self, seconds: Number) -> None:
        """Add a time that was measured elsewhere.

        Raises:
            TypeError, ValueError: it is no number of seconds.
        """
        check_number(seconds)
        if seconds < 0:
            raise ValueError(f"timer {self.name!r} was given a negative time: {seconds}")
        with self._lock:
            self.times.record(seconds)

    def __enter__(self) -> Timer:
        _begun.set((clock.now(), _begun.get()))
        return self

    def __exit__(self, *_: object) -> None:
        begun = _begun.get()
        if begun:  # or it was entered in another task
            began, outer = begun
            _begun.set(outer)
            self.record(max(clock.now() - began, 0.0))

    def __call__(self, function: Function) -> Function:
        """Time each call of a function."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def timed_async(*args: Any, **kw: Any) -> Any:
                with self:
                    return await function(*args, **kw)

            return cast(Function, timed_async)

        @functools.wraps(function)
        def timed(*args: Any, **kw: Any) -> Any:
            with self:
                return function(*args, **kw)

        return cast(Function, timed)


def check_number(number: object) -> None:
    """Raise what is to be raised for what is no finite number."""
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"a metric takes an int or a float, got {number!r}")
    if not math.isfinite(number):
        raise ValueError(f"a metric takes finite numbers, got {number}")


class UserMetrics:
    """The metrics that one process has of its own; ``Process.metrics`` is it.

    A name begins with a letter, and has letters, digits, ``_`` and ``/``.  The same name is the
    same metric, so handlers may ask for it again and again.
    """

    __slots__ = ("_all", "_lock", "_names", "_wrong", "pulled", "reading")

    def __init__(self) -> None:
        self._all: dict[str, Counter | Gauge | Timer] = {}
        self._names: dict[str, str] = {}  # by what they become for Prometheus and the snapshot
        self._lock = threading.Lock()
        self._wrong: set[str] = set()
        self.pulled: dict[str, float] = {}
        self.reading: Any = None  # the dispatch that reads the gauges, while it is under way

    def counter(self, name: str) -> Counter:
        """The counter of that name.

        Raises:
            TypeError, ValueError: the name cannot be one, is that of another kind, or one too many.
        """
        return self._get(name, Counter)

    def gauge(self, name: str, read: Reads | None = None) -> Gauge:
        """The gauge of that name.

        Args:
            name: see the class.
            read: as for ``Gauge``; only the first call that makes the gauge needs it.

        Raises:
            TypeError, ValueError: as for ``counter``.
        """
        if read is not None and not callable(read):
            raise TypeError(f"a gauge reads a function without arguments, got {read!r}")
        gauge = self._get(name, Gauge, read)
        if read is not None and gauge.read is not read and gauge.read != read:
            raise ValueError(f"gauge {name!r} is there already, and does not read {read!r}")
        return gauge

    def timer(self, name: str) -> Timer:
        """The timer of that name; in the snapshot it is ``<name>_ms``.

        Raises:
            TypeError, ValueError: as for ``counter``.
        """
        return self._get(name, Timer)

    def __iter__(self) -> Iterator[Counter | Gauge | Timer]:
        return iter(list(self._all.values()))

    def _get(self, name: str, kind: type[Kind], *args: Any) -> Kind:
        found = self._all.get(name)
        if found is None:
            with self._lock:
                found = self._all.get(name) or self._new(name, kind, args)
        if type(found) is not kind:
            raise TypeError(
                f"{name!r} is a {type(found).__name__.lower()}, not a {kind.__name__.lower()}"
            )
        return found

    def _new(self, name: str, kind: type[Kind], args: tuple[Any, ...]) -> Kind:
        check_name(name)
        if len(self._all) >= MAX_METRICS:
            raise ValueError(
                f"{name!r} is one too many: a process has {MAX_METRICS} metrics at most; what "
                "differs with each job or peer is no name"
            )
        shown = name.replace("/", "_") + ("_ms" if kind is Timer else "")
        other = self._names.setdefault(shown, name)
        if other != name:
            raise ValueError(f"{name!r} would be shown under the same name as {other!r}: {shown}")
        made = self._all[name] = kind(name, *args)
        return made

    # Reading

    def read(self) -> Iterator[tuple[str, str, float | Histogram]]:
        """The names, kinds and values of all that have one right now."""
        for one in self:
            if type(one) is Timer:
                yield one.name, "timer", one.times
            elif type(one) is Counter:
                yield one.name, "counter", one.value
            elif type(one) is Gauge and one.read is None:
                yield one.name, "gauge", one.value

    @property
    def has_functions(self) -> bool:
        """Whether a gauge has to be asked."""
        return any(type(one) is Gauge and one.read is not None for one in self)

    def pull(self) -> Any:
        """Ask all gauges that are functions, for ``pulled``; await what is returned, if any."""
        rest: list[tuple[str, Awaitable[Number]]] = []
        for one in self:
            if type(one) is Gauge and one.read is not None:
                try:
                    value = one.read()
                    if inspect.isawaitable(value):
                        rest.append((one.name, value))
                    else:
                        self._keep(one.name, value)
                except Exception as error:
                    self._tell(one.name, error)
        return _all_of([self._await(*each) for each in rest]) if rest else None

    async def _await(self, name: str, value: Awaitable[Number]) -> None:
        try:
            self._keep(name, await value)
        except Exception as error:
            self._tell(name, error)

    def _keep(self, name: str, value: Any) -> None:
        check_number(value)
        self.pulled[name] = value

    def _tell(self, name: str, error: Exception) -> None:
        if name not in self._wrong:  # once is enough: it is read again and again
            self._wrong.add(name)
            log.warning("gauge %s cannot be read, and is left out: %r", name, error)


async def _all_of(reads: list[Any]) -> None:
    await asyncio.gather(*reads)


def check_name(name: object) -> None:
    """Raise what is to be raised for what cannot be the name of a metric."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a metric is a str, got {name!r}")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ValueError(
            f"{name[:_LONGEST]!r} cannot be the name of a metric: it begins with a letter, and has "
            f"letters, digits, '_' and '/', {_LONGEST} at most"
        )
    if name.endswith(_TAKEN):
        raise ValueError(
            f"{name!r} cannot be the name of a metric: Prometheus adds such an ending by itself"
        )
