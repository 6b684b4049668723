"""What annotations of handlers say, compared with what handlers are given and have to answer.

Only what is certain is told: an annotation that names what cannot be found here, such as a forward
reference or an import for checkers alone, is left to checkers.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Awaitable
from typing import Any

from compactor.actor.messages import members_of, resolved

RAW_ANSWERS = bytes | bytearray | memoryview | None

_WIDER = {int: (float, complex), float: (complex,)}  # as checkers have it


def annotation_of(function: Any, name: str) -> Any:
    """An annotation of a function, by the name of the parameter or ``return``; ``Any`` if there is
    none that says something here.
    """
    if hasattr(function, "__wrapped__"):
        return Any  # they are those of what it wraps, which may be given something else
    try:
        annotation = _annotations(function).get(name, Any)
        if "<locals>" in function.__qualname__ and _has_text(annotation):
            return Any  # what is local there may hide what is found here
        return resolved(annotation, function.__globals__)
    except Exception:
        return Any


def _annotations(function: Any) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        found: dict[str, Any] = annotationlib.get_annotations(
            function, format=annotationlib.Format.FORWARDREF
        )
        return found
    return dict(function.__annotations__)


def _has_text(annotation: Any) -> bool:
    if isinstance(annotation, (str, typing.ForwardRef)):
        return True
    return any(map(_has_text, typing.get_args(annotation)))


def accepts(annotation: Any, given: Any) -> bool:
    """Whether what is annotated may be given a value of a type; True if nobody can tell."""
    return any(_accepts_one(part, given) for part in members_of(annotation))


def _accepts_one(annotation: Any, given: Any) -> bool:
    wanted = typing.get_origin(annotation) or annotation
    given = typing.get_origin(given) or given
    if not _is_certain(wanted) or not _is_certain(given):
        return True
    try:
        return issubclass(given, wanted) or wanted in _WIDER.get(given, ())
    except TypeError:  # it takes part in no such question
        return True


def _is_certain(cls: Any) -> bool:
    """Whether it is a plain class."""
    is_class = isinstance(cls, type) and cls is not Any  # which is one since 3.11
    return is_class and not getattr(cls, "_is_protocol", False) and not typing.is_typeddict(cls)


def returns(annotation: Any, wanted: Any) -> bool:
    """Whether what is annotated to return something may return what is wanted; True if nobody can
    tell.
    """
    for part in members_of(annotation):
        cls = typing.get_origin(part) or part
        if isinstance(cls, type) and cls is not Any and issubclass(cls, Awaitable):
            continue  # nobody knows what it will be
        if not accepts(wanted, part):
            return False
    return True


def text_of(annotation: Any) -> str:
    """An annotation, for an error."""
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")
