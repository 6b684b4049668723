"""Codecs: how the values of a type become bytes and are read again.  Imports no package of an extra
before it is needed.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from compactor.actor.protobuf import full_name, parser_of
from compactor.errors import MissingPackage

JSON = "application/json"
MESSAGE_PACK = "application/x-msgpack"

_CONTENT_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:;[ -~]*)?")
_MOST_ERRORS = 3  # of one message, that are told of
_MANY_ERRORS = 100  # from which on none is: each takes a dict


class Codec(NamedTuple):
    """How values of one type are written and read.

    Attributes:
        encode: a value to bytes.
        decode: bytes to a value; what it raises says what is wrong with them.
        content_type: what the bytes are, or empty if nobody is told.
    """

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    content_type: str


def _content(value: Any) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"bytes are expected, not {value!r:.80}")
    return bytes(value)


RAW = Codec(_content, bytes, "")


def protobuf_codec(kind: Any) -> Codec:
    """That of a type of protocol buffers."""
    return Codec(kind.SerializeToString, parser_of(kind), "")


def given_codec(
    kind: Any, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any], content_type: str
) -> Codec:
    """That of two functions.

    Raises:
        TypeError, ValueError: it can be none.
    """
    if not isinstance(kind, type):
        raise TypeError(f"a codec is that of a class, got {kind!r}")
    if not (callable(encode) and callable(decode)):
        raise TypeError(f"a codec is two functions, got {encode!r} and {decode!r}")
    if not isinstance(content_type, str) or not _CONTENT_TYPE.fullmatch(content_type):
        raise ValueError(f"a content type is like 'application/x-npy', got {content_type!r}")

    def encode_checked(value: Any) -> bytes:
        data = encode(value)
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"the codec of {kind.__qualname__} has made {data!r:.80}, not bytes")
        return bytes(data)

    return Codec(encode_checked, decode, content_type)


def is_model(kind: Any) -> bool:
    """Whether a type is one of pydantic, which has been imported then."""
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__")


def pydantic_codec(kind: Any) -> Codec:
    """That of a model or dataclass of pydantic, by its own methods."""
    if hasattr(kind, "model_validate_json"):
        read = kind.model_validate_json

        def write(value: Any) -> bytes:
            return bytes(value.model_dump_json().encode())
    else:
        read = kind.__pydantic_validator__.validate_json
        write = kind.__pydantic_serializer__.to_json
    return Codec(write, _explaining(read), JSON)


def _explaining(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """What tells of errors with the paths of the fields, in one line, without what was sent."""

    def decode(body: bytes) -> Any:
        try:
            return read(body)
        except ValueError as error:
            errors = getattr(error, "errors", None)
            if errors is None:
                raise
            count = error.error_count()  # type: ignore[attr-defined]
            if count > _MANY_ERRORS:
                raise ValueError(f"{count} errors") from None
            found = errors(include_url=False, include_input=False, include_context=False)
            lines = [f"{one['msg']} - at `{_path(one['loc'])}`" for one in found[:_MOST_ERRORS]]
            if count > _MOST_ERRORS:
                lines.append(f"and {count - _MOST_ERRORS} more")
            raise ValueError("; ".join(lines)) from None

    return decode


def _path(location: tuple[Any, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(("$", *parts))


def msgspec_module() -> Any:
    """The package that writes typed messages.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        import msgspec
    except ModuleNotFoundError as error:
        if error.name != "msgspec":
            raise
        raise MissingPackage(
            "typed messages are written by the package msgspec; "
            "install it with: pip install 'compactor[typed]'"
        ) from error
    return msgspec


class MsgspecCodecs:
    """The codecs of all that msgspec writes, as JSON or as MessagePack.

    Args:
        given: the codecs of types that it does not know, by type, as they are when they are needed.
    """

    def __init__(self, given: Callable[[type], Codec | None]) -> None:
        msgspec = msgspec_module()
        self._given = given
        self._known: dict[tuple[Any, str], Codec] = {}
        self._inspect = msgspec.inspect
        self._json = msgspec.json
        self._msgpack = msgspec.msgpack
        self._encode_json = msgspec.json.Encoder(enc_hook=self._to_json).encode
        self._encode_msgpack = msgspec.msgpack.Encoder(enc_hook=self._to_msgpack).encode

    def of(self, kind: Any, form: str) -> Codec:
        """That of a type.

        Args:
            kind: a class, or another annotation.
            form: ``json`` or ``msgpack``.

        Raises:
            TypeError: it cannot be written.
        """
        import msgspec.inspect

        if isinstance(msgspec.inspect.type_info(kind), msgspec.inspect.CustomType):
            raise TypeError(
                f"{getattr(kind, '__qualname__', kind)} has no codec: "
                "context.codec(type, encode, decode, content_type) gives it one"
            )
        if form == "json":
            decoder: Any = self._json.Decoder(kind, dec_hook=self._from_json)
            return Codec(self._encode_json, decoder.decode, JSON)
        decoder = self._msgpack.Decoder(kind, dec_hook=self._from_msgpack)
        return Codec(self._encode_msgpack, decoder.decode, MESSAGE_PACK)

    # What msgspec does not know, within messages

    def _to_json(self, value: Any) -> Any:
        if is_model(type(value)):
            return value.model_dump(mode="json")
        return base64.b64encode(self._codec(type(value)).encode(value)).decode("ascii")

    def _from_json(self, kind: type, value: Any) -> Any:
        if is_model(kind):
            return kind.model_validate(value)  # type: ignore[attr-defined]
        return self._codec(kind).decode(base64.b64decode(value, validate=True))

    def _to_msgpack(self, value: Any) -> Any:
        if is_model(type(value)):
            return value.model_dump(mode="json")
        return self._codec(type(value)).encode(value)

    def _from_msgpack(self, kind: type, value: Any) -> Any:
        if is_model(kind):
            return kind.model_validate(value)  # type: ignore[attr-defined]
        return self._codec(kind).decode(value)

    def _codec(self, kind: type) -> Codec:
        codec = self._given(kind)
        if codec is None:
            raise TypeError(
                f"{kind.__qualname__} has no codec: "
                "context.codec(type, encode, decode, content_type) gives it one"
            )
        return codec


def form_of(kind: Any) -> str | None:
    """How a type says that it is written: its ``__message_codec__``.

    Raises:
        TypeError: it says something that is not known.
    """
    form = getattr(kind, "__message_codec__", None)
    if form is None:
        return None
    if form not in ("json", "msgpack"):
        raise TypeError(
            f"{kind.__qualname__} has a __message_codec__ {form!r}; it is 'json' or 'msgpack'"
        )
    if form == "msgpack" and (is_model(kind) or full_name(kind, "FromString")):
        raise TypeError(
            f"{kind.__qualname__} writes itself, so it has no __message_codec__ {form!r}"
        )
    return str(form)
