"""Mistakes in a class of processes that nobody would notice before a message is lost to them."""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from compactor.actor.annotations import RAW_ANSWERS, accepts, annotation_of, returns, text_of
from compactor.actor.handlers import (
    ANSWER_ATTRIBUTE,
    CONCURRENT,
    INSTALL_ATTRIBUTE,
    ROUTE_ATTRIBUTE,
    TRAIT_ATTRIBUTE,
    collect_handlers,
    marks,
)
from compactor.actor.messages import Ask, asked_type
from compactor.actor.patterns import is_pattern
from compactor.actor.protobuf import without_parsing
from compactor.actor.route_methods import ANY, methods_of, names_of
from compactor.pid import PID

_METHODS = (staticmethod, classmethod)


def check_class(cls: type[Any], root: type[Any]) -> None:
    """Look at the handlers that the body of a class installs, and those of its mixins.

    A method installed under the name of another one of the same body is a warning, where a program
    of 0.3.0 may do it.

    Args:
        root: the base of all classes that are looked at when they are made.

    Raises:
        TypeError: a handler or route can be no such thing; the text says what would be right.
    """
    for base in cls.__mro__:
        if base is cls or not issubclass(base, root):
            _check_body(cls, base)
            _check_methods(base)
    if any(is_pattern(path) for value in vars(cls).values() for path in _paths(value)):
        try:
            collect_handlers(cls)
        except TypeError as error:
            raise TypeError(f"{cls.__qualname__}: {error}") from None


def _check_body(cls: type[Any], base: type[Any]) -> None:
    owners: dict[tuple[str, str], Any] = {}
    for attribute, value in list(vars(base).items()):
        where = f"{base.__qualname__}.{attribute}"
        for kind, name, message in _names(value):
            _check_handler(where, value, kind, name, message)
            other = owners.setdefault((kind, name), value)
            if other is value or base is not cls:
                continue
            if kind == ROUTE_ATTRIBUTE and (_serves_some(value, name) or _serves_some(other, name)):
                continue  # as different methods, or not
            if marks(value, ANSWER_ATTRIBUTE) or marks(other, ANSWER_ATTRIBUTE):
                raise TypeError(f"{where} and another method above it both answer {name!r}")
            if kind == INSTALL_ATTRIBUTE and (_is_typed(value, name) or _is_typed(other, name)):
                raise TypeError(f"{where} and another method above it both handle {name!r}")
            warnings.warn(
                f"{where} is installed as {name!r}, as another method above it, which is never "
                "called; leave one of them out",
                stacklevel=4,  # the class statement
            )


def _names(value: Any) -> Iterator[tuple[str, str, Any]]:
    """Under which names and paths a value is installed, and the types of those messages."""
    for name, message in marks(value, INSTALL_ATTRIBUTE) or ():
        yield INSTALL_ATTRIBUTE, name, message
    for path in _paths(value):
        yield ROUTE_ATTRIBUTE, path, None


def _paths(value: Any) -> Iterable[str]:
    paths: Iterable[str] = marks(value, ROUTE_ATTRIBUTE) or ()
    return paths


def _serves_some(value: Any, path: str) -> bool:
    """Whether a value serves a path for some methods alone."""
    return any(own == path and ANY not in methods_of(own) for own in _paths(value))


def _check_methods(base: type[Any]) -> None:
    """Refuse two routes of a body that serve the same method of the same path."""
    owners: dict[tuple[str, str], str] = {}
    for attribute, value in list(vars(base).items()):
        for path in _paths(value):
            for method in methods_of(path):
                rivals = [m for p, m in owners if p == path and (m == method or ANY in (m, method))]
                names = {owners[path, m] for m in rivals} - {attribute}
                if names and not all(m == method == ANY for m in rivals):
                    raise TypeError(
                        f"{base.__qualname__}.{attribute} and {names.pop()} above it both serve "
                        f"{method or rivals[0]} {str(path)!r}; a route serves all methods unless "
                        'it names its own, as methods=["GET"]'
                    )
                owners.setdefault((path, method), attribute)


def _is_typed(value: Any, name: str) -> bool:
    """Whether a value handles messages of a type under a name, as nothing of 0.3.0 does."""
    is_old = without_parsing(value) is not value
    return not is_old and any(
        installed == name and message is not None
        for installed, message in marks(value, INSTALL_ATTRIBUTE) or ()
    )


def _check_handler(where: str, value: Any, kind: str, name: str, message: Any) -> None:
    answers = marks(value, ANSWER_ATTRIBUTE) or ()
    traits = marks(value, TRAIT_ATTRIBUTE) or ()
    names = names_of(name) if kind == ROUTE_ATTRIBUTE else [name]
    is_concurrent = any((kind, one, CONCURRENT) in traits for one in names)
    value = without_parsing(value)
    function = value.__func__ if isinstance(value, _METHODS) else value
    is_route = kind == ROUTE_ATTRIBUTE
    what = f"{where} {'serves' if is_route else 'handles'} {name!r}"
    if not is_route and (
        inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)
    ):
        raise TypeError(f"{what}, but has a 'yield', so its body would not run: use 'await'")
    if is_concurrent and not (is_async(function) or inspect.isasyncgenfunction(function)):
        raise TypeError(
            f"{what} with concurrent=True, but is no 'async def': a plain method holds the "
            "mailbox, and the loop, until it returns"
        )
    given = ["a request"] if is_route else ["from_pid", "body"]
    places = len(given) + _is_given_self(value)
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return  # nobody can tell
    try:
        signature.bind(*[None] * places)
    except TypeError:
        raise TypeError(
            f"{what} and is given {' and '.join(given)}, but takes {_signature_text(signature)}"
        ) from None
    if not is_route:
        names = _positional(signature)[_is_given_self(value) :]
        _check_annotations(what, function, names, message, name in answers)


def check_health_check(function: Any) -> None:
    """Look at a method that is to tell whether its process is healthy.

    Raises:
        TypeError: it cannot be called with nothing but ``self``, or has a ``yield``.
    """
    what = f"{getattr(function, '__qualname__', function)} is a health check"
    plain = function.__func__ if isinstance(function, _METHODS) else function
    if inspect.isasyncgenfunction(plain) or inspect.isgeneratorfunction(plain):
        raise TypeError(f"{what}, but has a 'yield', so its body would not run: use 'await'")
    try:
        signature = inspect.signature(plain)
        signature.bind(*[None] * _is_given_self(function))
    except ValueError:
        return  # nobody can tell
    except TypeError as error:
        raise TypeError(f"{what}, so it is a method that takes nothing but self: {error}") from None


def _positional(signature: inspect.Signature) -> list[str]:
    """The names of the parameters that are given by their places, before any ``*args``."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [one.name for one in signature.parameters.values() if one.kind in kinds]


def _check_annotations(
    what: str, function: Any, names: list[str], message: Any, is_answer: bool
) -> None:
    """Compare what a handler is given, and has to return, with its annotations."""
    given = bytes if message is None else message
    for name, kind in zip(names, (PID, given), strict=False):
        annotation = annotation_of(function, name)
        if not accepts(annotation, kind):
            raise TypeError(
                f"{what} and is given {kind.__qualname__} as {name!r}, which is annotated as "
                f"{text_of(annotation)}"
            )
    if not is_answer:
        return
    annotation = annotation_of(function, "return")
    wanted = _answer_of(message)
    if not returns(annotation, wanted):
        raise TypeError(
            f"{what} and answers with {text_of(wanted)}, but is annotated to return "
            f"{text_of(annotation)}"
        )


def _answer_of(message: Any) -> Any:
    """What a message is answered with; ``Any`` where that is not known here."""
    if message is None:
        return RAW_ANSWERS
    if not issubclass(message, Ask):
        return Any
    try:
        return asked_type(message)
    except Exception:  # of a forward reference, among others
        return Any


def is_async(function: Any) -> bool:
    """Whether a call returns a coroutine, as far as can be told; wrappers are as what they wrap."""
    plain = inspect.unwrap(function)
    return inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(
        getattr(plain, "__call__", None)  # noqa: B004  # of an object that is called
    )


def _is_given_self(value: Any) -> bool:
    if isinstance(value, functools.partial) and sys.version_info < (3, 14):
        return False  # 3.13 has a __get__ there, which binds nothing yet
    return hasattr(type(value), "__get__") and not isinstance(value, staticmethod)


def _signature_text(signature: inspect.Signature) -> str:
    return "nothing" if not signature.parameters else f"({', '.join(signature.parameters)})"
