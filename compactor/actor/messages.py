"""Objects as messages: which types can be one, under which name, and what is asked with them."""

from __future__ import annotations

import sys
import types
import typing
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar, Union

from compactor.actor.protobuf import full_name
from compactor.wire.encoder import check_name

Answer = TypeVar("Answer")
Answer_co = TypeVar("Answer_co", covariant=True)

_NAME = "__message_name__"
_KINDS = (
    "a dataclass, a msgspec.Struct, a class of attrs, a NamedTuple, a pydantic model or a protocol "
    "buffer"
)


class Ask(Generic[Answer_co]):
    """The base of messages that are asked: ``class Add(Ask[int])`` is answered with an ``int``."""

    __slots__ = ()

    if TYPE_CHECKING:  # see ``AsksFor``

        def __asks_for__(self, answer: Answer_co) -> Answer_co: ...  # type: ignore[misc]


class AsksFor(Protocol[Answer]):
    """What is asked with exactly this answer, for checkers.

    To them an ``Ask[int]`` is an ``Ask[object]`` too, so that what is asked can be given to whoever
    takes anything.  A method that answers must not return just anything for it.
    """

    def __asks_for__(self, answer: Answer) -> Answer: ...


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


class _Struct(Protocol):
    __struct_fields__: ClassVar[tuple[str, ...]]


class _Attrs(Protocol):
    __attrs_attrs__: ClassVar[Any]


class _Model(Protocol):
    def model_dump_json(self) -> str: ...


class _NamedTuple(Protocol):
    def _asdict(self) -> dict[str, Any]: ...


class _Named(Protocol):
    __message_name__: ClassVar[str]


class ProtobufMessage(Protocol):
    """What every protocol buffer can do."""

    DESCRIPTOR: Any

    def SerializeToString(self) -> bytes: ...


Message: TypeAlias = (
    _Dataclass | _Struct | _Attrs | _Model | _NamedTuple | _Named | ProtobufMessage | Ask[Any]
)
"""What can be sent as it is: an object whose type is the name of the message."""


def is_message_type(kind: Any) -> bool:
    """Whether the objects of a type tell by it what they are, whoever reads and writes them."""
    return isinstance(kind, type) and (
        full_name(kind, "FromString") is not None
        or hasattr(kind, "__dataclass_fields__")
        or hasattr(kind, "__struct_fields__")
        or "__attrs_attrs__" in vars(kind)
        or hasattr(kind, "__pydantic_validator__")
        or (issubclass(kind, tuple) and hasattr(kind, "_fields"))
    )


def is_annotation(value: Any) -> bool:
    """Whether a value can stand for a type, as ``int | None`` and ``list[str]`` do."""
    return typing.get_origin(value) is not None or value is Any or isinstance(value, TypeVar)


def check_message_type(kind: Any) -> str:
    """The name of the messages of a type, on the wire.

    It is the full name of a protocol buffer, the ``__message_name__`` of the class itself, or its
    ``__qualname__``.

    Raises:
        TypeError: no message has this type; the text says which could be.
        LocalProtocolError: the name cannot be sent.
    """
    if not isinstance(kind, type) or typing.get_origin(kind) is not None:
        raise TypeError(
            f"a message name is a str, or the class of a message: {_KINDS}; got {kind!r}"
        )
    name = full_name(kind, "FromString")
    if name is not None:
        return name
    if kind is Ask or kind.__module__ in ("builtins", "typing") or typing.is_typeddict(kind):
        raise TypeError(
            f"{kind.__qualname__} names no message: a message name is a str, or the class of a "
            f"message: {_KINDS}"
        )
    named = vars(kind).get(_NAME)
    if named is not None:
        return check_name(named)
    if not kind.__qualname__.isascii() or "<" in kind.__qualname__:
        raise TypeError(
            f"{kind.__qualname__} cannot be sent as the name of a message: give the class a "
            f"{_NAME} = ..."
        )
    return check_name(kind.__qualname__)


def asked_type(kind: type) -> Any:
    """What messages of a type are answered with; ``Any`` where that is not said.

    Raises:
        TypeError: ``kind`` is no ``Ask``.
        NameError: the type is named in a text, and no such name is known.
    """
    if not issubclass(kind, Ask):
        raise TypeError(
            f"{kind.__qualname__} does not say what it is answered with: class "
            f"{kind.__name__}(Ask[...])"
        )
    return resolved(_asked(kind), vars(sys.modules.get(kind.__module__, typing)), kind)


def _asked(kind: type) -> Any:
    for base in vars(kind).get("__orig_bases__", kind.__bases__):
        origin = typing.get_origin(base) or base
        given = typing.get_args(base)
        if origin is Ask:
            return given[0] if given else Any
        if isinstance(origin, type) and issubclass(origin, Ask):
            found = _asked(origin)
            known: dict[Any, Any] = dict(
                zip(getattr(origin, "__parameters__", ()), given, strict=False)
            )
            if isinstance(found, TypeVar):
                return known.get(found, found)
            open_ = getattr(found, "__parameters__", ())
            return found[tuple(known.get(one, one) for one in open_)] if open_ else found
    return Any


def resolved(annotation: Any, names: dict[str, Any], kind: type | None = None) -> Any:
    """An annotation whose texts are replaced by what they name.

    Args:
        names: those of its module.
        kind: the class that it stands in.

    Raises:
        Exception: it cannot be; ``NameError``, mostly.
    """

    def bearer() -> None: ...

    bearer.__annotations__ = {"it": annotation}
    own = {} if kind is None else {**vars(kind), kind.__name__: kind}
    found = typing.get_type_hints(bearer, names, own, include_extras=True)["it"]
    return Any if isinstance(found, TypeVar) else found


def members_of(annotation: Any) -> tuple[Any, ...]:
    """The parts of a union; other annotations alone."""
    if typing.get_origin(annotation) is typing.Annotated:
        return members_of(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return tuple(part for one in typing.get_args(annotation) for part in members_of(one))
    return (type(None) if annotation is None else annotation,)
