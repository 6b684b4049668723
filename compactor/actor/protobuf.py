"""Protocol buffers as messages: their names and their parsers.  Imports no protobuf."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

_MAX_NAMES = 4096
_LONGEST_REASON = 500  # characters

_names: dict[type, str] = {}
_parsing: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


class DoesNotParse(ValueError):
    """The bytes of a message are nothing of its type."""

    @classmethod
    def of(cls, body: bytes, name: str, why: object) -> DoesNotParse:
        """The error of a body; what a peer has chosen may stand in its reason, and is cut."""
        return cls(f"{len(body)} bytes do not parse as {name}: {str(why)[:_LONGEST_REASON]}")


def type_name(message_type: Any) -> str:
    """The full name of a type of protocol buffers.

    Raises:
        TypeError: ``message_type`` is not a generated message type.
    """
    name = full_name(message_type, "FromString")
    if name is None or not isinstance(message_type, type):
        raise TypeError(f"expected a protobuf message type such as Duration, got {message_type!r}")
    return name


def full_name(thing: Any, method: str) -> str | None:
    """The name of what has a descriptor and this method, as protocol buffers and their types do."""
    descriptor = getattr(thing, "DESCRIPTOR", None)
    return None if descriptor is None or not hasattr(thing, method) else str(descriptor.full_name)


@functools.lru_cache(maxsize=4096)
def parser_of(message_type: Any) -> Callable[[bytes], Any]:
    """What parses the protocol buffers of a type.

    One without its required fields does not parse, as in libprocess: that is ``DoesNotParse`` too.

    Raises:
        TypeError: ``message_type`` is not a generated message type.
    """
    name = type_name(message_type)
    from_string = message_type.FromString
    has_required = _has_required(message_type)

    def parse(body: bytes) -> Any:
        try:
            message = from_string(body)
        except Exception as error:
            raise does_not_parse(body, error) from error
        if has_required and not message.IsInitialized():
            raise does_not_parse(body, f"{', '.join(message.FindInitializationErrors())} missing")
        return message

    def does_not_parse(body: bytes, why: object) -> DoesNotParse:
        return DoesNotParse.of(body, name, why)

    return parse


def why_unreadable(call: Any, body: bytes) -> bytes:
    """Why a handler cannot read a body, to be answered; empty if it can, or takes bytes.

    Args:
        call: of the handler; its ``parse``, if it has one, makes a message of bytes.
    """
    parse = getattr(call, "parse", None)
    if parse is not None:
        try:
            parse(body)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a codec may raise anything, which its process is told
            return str(
                error if isinstance(error, DoesNotParse) else type(error).__qualname__
            ).encode("utf-8", "backslashreplace")
    return b""


def parsing_call(call: Callable[[Any, Any], Any], message_type: Any) -> Callable[[Any, bytes], Any]:
    """A call that takes bytes, for one that takes the message that they make."""
    parse = parser_of(message_type)
    parse_and_call = _parsing_call(call, message_type, parse)
    parse_and_call.parse = parse  # type: ignore[attr-defined]
    return parse_and_call


def _parsing_call(
    call: Callable[[Any, Any], Any], message_type: Any, parse: Callable[[bytes], Any]
) -> Callable[[Any, bytes], Any]:
    if _has_required(message_type):
        return lambda from_pid, body: call(from_pid, parse(body))
    from_string = message_type.FromString

    def parse_and_call(from_pid: Any, body: bytes) -> Any:
        try:
            message = from_string(body)
        except Exception:
            message = parse(body)  # says what is wrong
        return call(from_pid, message)

    return parse_and_call


@functools.lru_cache(maxsize=4096)
def _has_required(message_type: Any) -> bool:
    """Whether a type, or one within it, has required fields: asking each message is slow."""
    return _requires(message_type.DESCRIPTOR, set())


def _requires(descriptor: Any, seen: set[str]) -> bool:
    seen.add(descriptor.full_name)
    return descriptor.is_extendable or any(
        _is_required(field)
        or (
            field.message_type is not None
            and field.message_type.full_name not in seen
            and _requires(field.message_type, seen)
        )
        for field in descriptor.fields
    )


def _is_required(field: Any) -> bool:
    if hasattr(field, "is_required"):
        return bool(field.is_required)
    return bool(field.label == field.LABEL_REQUIRED)  # protobuf before 6


def parsing(function: Any, parse: Callable[[bytes], Any]) -> Any:
    """A method like ``function`` that takes bytes as well as the message that they make."""
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(parsing(function.__func__, parse))

    def parsed(value: Any) -> Any:
        return parse(bytes(value)) if isinstance(value, (bytes, bytearray)) else value

    @functools.wraps(function)
    def method(*args: Any, **kw: Any) -> Any:
        return function(*map(parsed, args), **{name: parsed(value) for name, value in kw.items()})

    _parsing[method] = function
    return method


def without_parsing(method: Any) -> Any:
    """What ``parsing`` has wrapped; other methods as they are, also those that wrap it further."""
    if isinstance(method, (staticmethod, classmethod)):
        return type(method)(without_parsing(method.__func__))
    return _parsing.get(method, method)


def message_name(message: Any) -> str:
    """The full name of a protocol buffer's type: the same object each time, which is compared fast.

    Raises:
        TypeError: ``message`` is not a protocol buffer.
    """
    kind = type(message)
    name = _names.get(kind)
    if name is None:
        name = full_name(message, "SerializeToString")
        if name is None or isinstance(message, type):
            raise TypeError(f"expected a protobuf message, got {message!r}")
        if len(_names) >= _MAX_NAMES:
            _names.clear()
        _names[kind] = name
    return name
