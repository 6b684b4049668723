"""``Plan``: what one worker is to do; and ``Worker``, what the function that makes it is told."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from compactor.settings import Settings
from compactor.tls.settings import TlsSettings

_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
_LAST_PORT = 65535


@dataclass(frozen=True)
class Worker:
    """One worker, as the function that makes it is told.

    Attributes:
        number: which of all it is, from 0 on; whoever takes its place has the same.
        count: how many there are.
        generation: how many had this number before.
    """

    number: int
    count: int
    generation: int


@dataclass(frozen=True)
class Plan:
    """What one worker is to do.

    Attributes:
        make: ``module:function``.
        worker: which one it is.
        port: to listen on; 0 for any.
        settings, tls: of its context.
        cluster: the URL of a cluster to register its processes in.
        drain: seconds in which it ends.
        beat: seconds between two signs of life.
        stuck_after: seconds without a turn of its loop after which it tells where it stands.
        level: of its logs.
    """

    make: str
    worker: Worker
    port: int
    settings: Settings
    tls: TlsSettings | Literal[False]
    cluster: str | None
    drain: float
    beat: float
    stuck_after: float
    level: int


def check_target(target: Any) -> str:
    """The name of a function that makes workers, as ``module:function``.

    Args:
        target: that, or the function itself.

    Raises:
        TypeError, ValueError: it is neither, or nothing can be imported under that name.
    """
    if callable(target):
        module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", "")
        target = f"{module}:{name}"
        if "<" in target or module is None:
            raise ValueError(
                f"workers import what makes them, and {target} is inside of a function: "
                "define it in a module"
            )
    if not isinstance(target, str):
        raise TypeError(f"workers are made by 'module:function', got {target!r}")
    if not _TARGET.fullmatch(target):
        raise ValueError(
            f"workers are made by 'module:function', as 'shop.orders:make', got {target!r}"
        )
    return target


def load_target(target: str) -> Callable[..., Any]:
    """The function of that name.

    Raises:
        ImportError: there is no such module.
        AttributeError: nothing of that name is in it.
        TypeError: it is no function.
    """
    module, _, path = target.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise AttributeError(f"module {module!r} has no {path!r}, of {target!r}") from None
    if not callable(found):
        raise TypeError(f"{target!r} is {found!r}, and no function")
    made: Callable[..., Any] = found
    return made


def check_ports(ports: Any, count: int) -> tuple[int, ...]:
    """The ports that workers may have; empty for any.

    Args:
        ports: ``"5051-5054"``, several numbers, or None.
        count: how many are needed.

    Raises:
        TypeError, ValueError: they are none, or too few.
    """
    if ports is None:
        return ()
    if isinstance(ports, str):
        match = _RANGE.fullmatch(ports)
        if match is None:
            raise ValueError(f"ports={ports!r} must be a range such as '5051-5054'")
        found = tuple(range(int(match[1]), int(match[2]) + 1))
    elif isinstance(ports, Iterable):
        found = tuple(dict.fromkeys(ports))
    else:
        raise TypeError(f"ports={ports!r} must be a range such as '5051-5054', or several numbers")
    for port in found:
        if not isinstance(port, int) or isinstance(port, bool) or not 0 < port <= _LAST_PORT:
            raise ValueError(f"ports={ports!r}: {port!r} is no port from 1 to {_LAST_PORT}")
    if len(found) < count:
        raise ValueError(f"ports={ports!r} are {len(found)}, too few for {count} workers")
    return found
