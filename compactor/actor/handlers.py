"""What a class handles: the marks that decorators leave, and the table made of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from compactor.actor.patterns import Patterns, is_pattern
from compactor.actor.protobuf import full_name
from compactor.actor.route_methods import ANY, methods_of, name_of, served_by

Method = TypeVar("Method", bound=Callable[..., Any])

ROUTE_ATTRIBUTE = "__route__"
INSTALL_ATTRIBUTE = "__mailbox__"
ANSWER_ATTRIBUTE = "__answers__"
DOOR_ATTRIBUTE = "__answers_http__"
TRAIT_ATTRIBUTE = "__traits__"
CHECK_ATTRIBUTE = "__health_check__"

CONCURRENT = "concurrent"
UNCANCELLABLE = "uncancellable"
STREAMED = "streamed"
"""Traits of handlers: a mark has the attribute of the kind, the name or path, and the trait."""

TABLE_ATTRIBUTE = "_compactor_handlers"
# Modules of classes that have no handlers.
_UNCHANGING = (
    "builtins",
    "compactor.process",
    "compactor.actor.asking",
    "compactor.actor.measuring",
    "compactor.actor.supervising",
    "compactor.actor.timing",
    "compactor.actor.typed_handlers",
    "compactor.supervisor",
)


class HandlerTable(NamedTuple):
    """What a class handles.

    Attributes:
        messages: message name to (what the class has to handle it, its type or None for bytes).
        routes: route path to what the class has to serve it.
        exact: those of them whose paths have no parameters.
        patterns: finds the others; None if there are none.
        answers: the names among them whose results go to whoever has asked.
        doors: the names among those again that HTTP requests without a sender may ask for.
        kinds: the types of messages among them, protocol buffers apart.
        traits: what is unusual about handlers, as decorators have marked them.
        checks: the methods that tell whether its processes are healthy.
        exited_is_told: how much its ``exited`` is told: the pid; its reason; the cause in words.
    """

    messages: dict[str, tuple[Any, Any]]
    routes: dict[str, Any]
    exact: dict[str, Any]
    patterns: Patterns | None
    answers: frozenset[str]
    doors: frozenset[str]
    kinds: tuple[Any, ...]
    traits: frozenset[tuple[str, str, str]]
    checks: tuple[str, ...]
    exited_is_told: int


class _Known:
    """The table of a class, and what it was made of: the classes, and the attributes of each.

    The class keeps one, whatever becomes of the table, so that keeping it changes nothing.
    """

    __slots__ = ("made_of", "mro", "table", "version")

    def __init__(self) -> None:
        self.mro: tuple[type, ...] = ()
        self.made_of: Sequence[tuple[Mapping[str, Any], dict[str, Any]]] = ()
        self.table: HandlerTable
        self.version = 0  # of the class, where the compiled twin has seen one


_NOTHING = _Known()


def mark(function: Method, attribute: str, value: Any) -> Method:
    """Add to the names that a method is installed under, or to the paths that it serves.

    Raises:
        TypeError: it is no method.
    """
    if inspect.isclass(function) or not (
        callable(function) or isinstance(function, (staticmethod, classmethod))
    ):
        raise TypeError(f"only methods can be installed or serve routes, not {function!r}")
    try:
        setattr(function, attribute, (*(marks(function, attribute) or ()), value))
    except (AttributeError, TypeError):
        raise TypeError(
            f"only methods can be installed or serve routes, not {function!r}"
        ) from None
    return function


def mark_answer(function: Method, name: str, is_open: bool) -> Method:
    """Have what an installed method returns be the answer.

    Args:
        is_open: whether HTTP requests without a sender may ask for it.
    """
    answering = mark(function, ANSWER_ATTRIBUTE, name)
    return mark(answering, DOOR_ATTRIBUTE, name) if is_open else answering


def mark_traits(function: Method, kind: str, name: str, **traits: bool) -> Method:
    """Mark a method that is installed, or a route, with those traits that it has."""
    for trait, has in traits.items():
        if has:
            mark(function, TRAIT_ATTRIBUTE, (kind, name, trait))
    return function


def marks(value: Any, attribute: str) -> Any:
    """The names or paths that decorators have left on what a class has; None if there are none."""
    found = getattr(value, attribute, None)
    if found is None and isinstance(value, (staticmethod, classmethod)):
        return marks(value.__func__, attribute)
    return found


def bound(value: Any, owner: Any) -> Callable[..., Any]:
    """What ``owner.method`` is if its class has ``value`` there, whatever the instance has."""
    get = getattr(type(value), "__get__", None)
    method: Callable[..., Any] = value if get is None else get(value, owner, type(owner))
    return method


def handler_table(cls: type[Any]) -> HandlerTable:
    """The handlers of a process class, its bases and mixins, as they are now; an override wins.

    An override that is decorated itself is installed under its own names only; one that is not
    keeps those of the method that it overrides.  Only if a class was changed is a table made anew.
    """
    known: _Known = getattr(cls, TABLE_ATTRIBUTE, _NOTHING)  # may be that of a base
    if known.mro is cls.__mro__:
        try:
            for attributes, before in known.made_of:
                if attributes != before:
                    break
            else:
                return known.table
        except Exception:  # of a comparison of two values, so there is a new one
            pass
    else:
        known = _Known()
        setattr(cls, TABLE_ATTRIBUTE, known)
    mro = cls.__mro__
    made_of = [(vars(c), dict(vars(c))) for c in mro if c.__module__ not in _UNCHANGING]
    # Another thread may look at any time, and goes by the last two.
    known.table = collect_handlers(cls)
    known.made_of = made_of
    known.mro = mro
    return known.table


def collect_handlers(cls: type[Any]) -> HandlerTable:
    """The handlers of a process class, looked for anew.

    Raises:
        TypeError: some paths match two routes.
    """
    messages: dict[str, tuple[str, Any]] = {}
    routes: dict[str, dict[str, str]] = {}  # by path and method
    answers: set[str] = set()
    doors: set[str] = set()
    decorated: dict[str, Any] = {}  # of each attribute; an override may not be
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in list(vars(base).items()):
            found[attribute] = value
            installed = marks(value, INSTALL_ATTRIBUTE)
            routed = marks(value, ROUTE_ATTRIBUTE)
            if installed is not None or routed is not None or value is None:
                messages = {n: m for n, m in messages.items() if m[0] != attribute}
                routes = _without(routes, attribute)
                decorated[attribute] = value
            if installed:
                messages.update((name, (attribute, kind)) for name, kind in installed)
                names = {name for name, _ in installed}
                answers = answers - names | (names if marks(value, ANSWER_ATTRIBUTE) else set())
                doors = doors - names | set(marks(value, DOOR_ATTRIBUTE) or ())
            for path in routed or ():
                _add_route(routes, path, attribute)
    return HandlerTable(
        {name: (found[attribute], kind) for name, (attribute, kind) in messages.items()},
        *_routes(routes, found),
        frozenset(answers.intersection(messages)),
        frozenset(doors.intersection(messages)),
        tuple(kind for _, kind in messages.values() if kind and not full_name(kind, "FromString")),
        _traits({n: a for n, (a, _) in messages.items()}, routes, decorated),
        _checks(cls),
        _exited_is_told(cls, found["exited"]),
    )


def _add_route(routes: dict[str, dict[str, str]], path: str, attribute: str) -> None:
    """Have an attribute serve a path: the methods that the path is for, or all of them."""
    methods = methods_of(path)
    served = dict.fromkeys(methods, attribute)
    path = str(path)
    routes[path] = served if ANY in served else {**routes.get(path, {}), **served}


def _routes(
    routes: dict[str, dict[str, str]], found: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], Patterns | None]:
    """What serves each path; the same without patterns; and what finds those."""
    served = {path: served_by(methods, found) for path, methods in routes.items()}
    patterns = [path for path in served if is_pattern(path)]
    if not patterns:
        return served, served, None
    exact = {path: serves for path, serves in served.items() if not is_pattern(path)}
    return served, exact, Patterns(patterns, exact)


def _without(routes: dict[str, dict[str, str]], attribute: str) -> dict[str, dict[str, str]]:
    """The routes but those of an attribute."""
    left = {p: {m: a for m, a in by.items() if a != attribute} for p, by in routes.items()}
    return {path: methods for path, methods in left.items() if methods}


def _traits(
    messages: dict[str, str], routes: dict[str, dict[str, str]], decorated: dict[str, Any]
) -> frozenset[tuple[str, str, str]]:
    """What is unusual about handlers, whose attributes are given by name and path."""
    return frozenset(
        trait
        for kind, name, attribute in (
            *((INSTALL_ATTRIBUTE, n, a) for n, a in messages.items()),
            *(
                (ROUTE_ATTRIBUTE, name_of(m, p), a)
                for p, by in routes.items()
                for m, a in by.items()
            ),
        )
        for trait in marks(decorated[attribute], TRAIT_ATTRIBUTE) or ()
        if trait[:2] == (kind, name)
    )


def _checks(cls: type[Any]) -> tuple[str, ...]:
    """The attributes that are health checks; an override is one as well, but None is none."""
    found: dict[str, bool] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in list(vars(base).items()):
            if value is None or marks(value, CHECK_ATTRIBUTE):
                found[attribute] = value is not None
    return tuple(attribute for attribute, is_one in found.items() if is_one)


def _exited_is_told(cls: type[Any], exited: Any) -> int:
    # The exited that every process has does nothing; what shadows it in an instance, such as the
    # mocks of tests, is called as in 0.3.0.
    is_overridden = sum("exited" in vars(base) for base in cls.__mro__) > 1
    return _places_of(exited) if is_overridden else 1


def _places_of(exited: Any) -> int:
    """How many arguments ``exited`` is called with: ``exited(self, pid, reason, detail)`` takes 3.

    Wrappers count as what they wrap.  One that does not tell what that is, and takes whatever it
    is given, is called as in 0.3.0: with the pid alone.
    """
    itself = 1
    if isinstance(exited, (staticmethod, classmethod)):
        exited = bound(exited, None)
        itself = 0
    signature = inspect.signature(exited)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = sum(parameter.kind in kinds for parameter in signature.parameters.values()) - itself
    for places in (3, 2):
        try:
            signature.bind(*[None] * (itself + places))
        except TypeError:
            continue
        # With a reason alone, ``exited(pid, *reason)`` is enough to be told.
        if named >= places or (places == 2 and named >= 1):
            return places
    return 1
