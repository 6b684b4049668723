"""What a class handles: the marks that decorators leave, and the table made of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])

ROUTE_ATTRIBUTE = "__route__"
INSTALL_ATTRIBUTE = "__mailbox__"

_TABLE_ATTRIBUTE = "_compactor_handlers"


class HandlerTable(NamedTuple):
    """What a class handles.

    Attributes:
        messages: message name to (attribute that handles it, protobuf type or None).
        routes: route path to the attribute that serves it.
        exited_takes_reason: whether its ``exited`` takes a reason besides the pid.
    """

    messages: dict[str, tuple[str, Any]]
    routes: dict[str, str]
    exited_takes_reason: bool


def mark(function: Method, attribute: str, value: Any) -> Method:
    """Add to the names that a method is installed under, or to the paths that it serves."""
    setattr(function, attribute, (*getattr(function, attribute, ()), value))
    return function


def handler_table(cls: type[Any]) -> HandlerTable:
    """The handlers of a process class, its bases and mixins, worked out once; an override wins.

    An override that is decorated itself is installed under its own names only; one that is not
    keeps those of the method that it overrides.
    """
    table: HandlerTable | None = cls.__dict__.get(_TABLE_ATTRIBUTE)
    if table is None:
        table = _collect_handlers(cls)
        setattr(cls, _TABLE_ATTRIBUTE, table)
    return table


def _collect_handlers(cls: type[Any]) -> HandlerTable:
    messages: dict[str, tuple[str, Any]] = {}
    routes: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            installed = getattr(value, INSTALL_ATTRIBUTE, None)
            routed = getattr(value, ROUTE_ATTRIBUTE, None)
            if installed is not None or routed is not None or value is None:
                messages = {n: m for n, m in messages.items() if m[0] != attribute}
                routes = {p: a for p, a in routes.items() if a != attribute}
            messages.update((name, (attribute, kind)) for name, kind in installed or ())
            routes.update((path, attribute) for path in routed or ())
    # The exited that every process has does nothing; what shadows it in an instance, such as the
    # mocks of tests, is called as in 0.3.0.
    is_overridden = sum("exited" in vars(base) for base in cls.__mro__) > 1
    return HandlerTable(messages, routes, is_overridden and _takes_reason(cls.exited))


def _takes_reason(exited: Callable[..., Any]) -> bool:
    """Whether ``exited`` is called with a reason: ``exited(self, pid, reason)`` can be.

    Wrappers count as what they wrap.  One that does not tell what that is, and takes whatever it
    is given, is called as in 0.3.0: with the pid alone.
    """
    signature = inspect.signature(exited)
    try:
        signature.bind(None, None, None)
    except TypeError:
        return False
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in named for parameter in signature.parameters.values()) > 1
