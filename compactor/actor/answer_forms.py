"""``AnswerForm``: how the answers to one type of message are written and read."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

from compactor.actor.codecs import Codec
from compactor.actor.messages import check_message_type, members_of
from compactor.actor.protobuf import DoesNotParse, full_name
from compactor.wire.encoder import TypedName

_NUMBERS = {float: (float, int), complex: (complex, float, int)}


class AnswerForm(NamedTuple):
    """How the answers to one type of message are written and read.

    Attributes:
        encode: a value to the name and bytes of the message that answers.
        decode: those to the value.
    """

    encode: Callable[[Any], tuple[str, bytes]]
    decode: Callable[[str, bytes], Any]


def named(name: str, codec: Codec) -> str:
    """A name as it is sent with what a codec has written."""
    return TypedName(name, codec.content_type) if codec.content_type else name


class _Way(NamedTuple):
    """How the values of some types are written and read.

    Attributes:
        accepted: the types, for ``isinstance``.
        name: of the message, as it is sent.
        text: what is read, in an error.
        codec: writes and reads.
    """

    accepted: tuple[type, ...]
    name: str
    text: str
    codec: Codec


def answer_form(
    question: str,
    wanted: Any,
    codec_of: Callable[[Any], Codec],
    is_named: Callable[[Any], bool],
) -> AnswerForm:
    """The form of the answers of a type.

    Args:
        question: the name of what was asked.
        wanted: the type.
        codec_of: the codec of a type.
        is_named: whether values of a type are sent under its name; all others are sent under that
            of what was asked.

    Raises:
        TypeError: values of that type cannot be written.
    """
    ways, rest = _ways_of(question, wanted, codec_of, is_named)
    by_name = {str(way.name): way for way in ways if way is not rest}
    may_be_empty = type(None) in members_of(wanted)

    def encode(value: Any) -> tuple[str, bytes]:
        for way in ways:
            if isinstance(value, way.accepted):
                return way.name, way.codec.encode(value)
        raise TypeError(f"{question} is answered with {_text(wanted)}, not with {value!r:.80}")

    def decode(name: str, body: bytes) -> Any:
        if not body and may_be_empty:
            return None
        way = by_name.get(name, rest)
        if way is None:
            raise DoesNotParse(f"the answer is {name!r}, and not {_text(wanted)}")
        return _read(way, body)

    return AnswerForm(encode, decode)


def _ways_of(
    question: str,
    wanted: Any,
    codec_of: Callable[[Any], Codec],
    is_named: Callable[[Any], bool],
) -> tuple[list[_Way], _Way | None]:
    """All ways of a type, and that of the values without a name of their own, if there is one."""
    parts = members_of(wanted)
    ways = [_named_way(kind, codec_of(kind)) for kind in parts if is_named(kind)]
    if len({str(way.name) for way in ways}) < len(ways):
        raise TypeError(f"two answers to {question} have one name: {_text(wanted)}")
    others = tuple(kind for kind in parts if not is_named(kind))
    rest = None
    if others:
        codec = codec_of(typing.Union[others])  # noqa: UP007
        rest = _Way(_accepted(others), named(question, codec), _text(wanted), codec)
        ways.append(rest)
    return ways, rest


def _named_way(kind: Any, codec: Codec) -> _Way:
    cls = typing.get_origin(kind) or kind
    name = check_message_type(cls)
    return _Way((cls,), named(name, codec), name, codec)


def _read(way: _Way, body: bytes) -> Any:
    try:
        return way.codec.decode(body)
    except DoesNotParse:
        raise
    except Exception as error:
        raise DoesNotParse.of(body, way.text, error) from error


def _accepted(kinds: tuple[Any, ...]) -> tuple[type, ...]:
    """What ``isinstance`` takes for the values of these types; all else if nobody can tell."""
    found: list[type] = []
    for kind in kinds:
        cls = typing.get_origin(kind) or kind
        if kind is bytes:
            found += (bytes, bytearray, memoryview)
        elif cls in _NUMBERS:
            found += _NUMBERS[cls]
        elif isinstance(cls, type) and not (
            typing.is_typeddict(cls) or getattr(cls, "_is_protocol", False) or cls is Any
        ):
            found.append(cls)
        else:
            return (object,)
    return tuple(found)


def _text(wanted: Any) -> str:
    if full_name(wanted, "FromString") is not None:
        return str(wanted.DESCRIPTOR.full_name)
    if isinstance(wanted, type) and not isinstance(wanted, types.GenericAlias):
        return wanted.__qualname__
    return str(wanted)
