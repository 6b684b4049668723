"""``MessageTypes``: what one context knows of the types of messages."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable
from typing import Any

from compactor.actor.answer_forms import AnswerForm, answer_form, named
from compactor.actor.codecs import (
    RAW,
    Codec,
    MsgspecCodecs,
    form_of,
    given_codec,
    is_model,
    protobuf_codec,
    pydantic_codec,
)
from compactor.actor.messages import (
    Ask,
    asked_type,
    check_message_type,
    is_annotation,
    is_message_type,
)
from compactor.actor.protobuf import DoesNotParse, full_name, parsing_call
from compactor.actor.routes import Call
from compactor.wire.encoder import check_name, content_of

Outgoing = tuple[Callable[[Any], bytes], str, str, str]
"""What writes messages of a type, and their name: as it is sent, alone, and as it is remembered."""

_MOST_TYPES = 4096  # a program that makes types without end forgets them here


class MessageTypes:
    """The names and codecs of the types of messages of one context, worked out as they are used.

    Attributes:
        outgoing: what was sent before, for outboxes.
    """

    def __init__(self) -> None:
        self.outgoing: dict[type, Outgoing] = {}
        self._given: dict[type, Codec] = {}
        self._codecs: dict[tuple[Any, str], Codec] = {}
        self._forms: dict[Any, AnswerForm] = {}
        self._prepared: set[type] = set()
        self._msgspec: MsgspecCodecs | None = None

    def give(
        self,
        kind: type,
        encode: Callable[[Any], bytes],
        decode: Callable[[bytes], Any],
        content_type: str,
    ) -> None:
        """Have the values of a class, and of those below it, written and read by two functions.

        Raises:
            TypeError, ValueError: they cannot be, or the class has a codec.
        """
        codec = given_codec(kind, encode, decode, content_type)
        if kind in self._given:
            raise ValueError(f"{kind.__qualname__} has a codec already")
        self._given[kind] = codec
        for known in (self.outgoing, self._codecs, self._forms, self._prepared):
            known.clear()

    def _given_to(self, kind: Any) -> Codec | None:
        cls = typing.get_origin(kind) or kind
        if not self._given or not isinstance(cls, type):
            return None
        return next((self._given[base] for base in cls.__mro__ if base in self._given), None)

    def codec(self, kind: Any, form: str = "json") -> Codec:
        """The codec of a type.

        Args:
            kind: a class, or another annotation.
            form: ``json`` or ``msgpack``, where the type does not say.

        Raises:
            TypeError: there is none; the text says what would give it one.
            MissingPackage: that takes a package that is not installed.
        """
        form = form_of(kind) or form
        codec = self._codecs.get((kind, form))
        if codec is None:
            if len(self._codecs) >= _MOST_TYPES:
                self._codecs.clear()
            codec = self._codecs[kind, form] = self._new_codec(kind, form)
        return codec

    def _new_codec(self, kind: Any, form: str) -> Codec:
        given = self._given_to(kind)
        if given is not None:
            return given
        if kind is bytes:
            return RAW
        if full_name(kind, "FromString") is not None:
            return protobuf_codec(kind)
        if is_model(kind):
            return pydantic_codec(kind)
        if self._msgspec is None:
            self._msgspec = MsgspecCodecs(self._given_to)
        return self._msgspec.of(kind, form)

    # Messages

    def message(self, name: Any, body: Any) -> tuple[str, bytes]:
        """The name and the bytes of what is sent: a name and a body, or one object.

        Raises:
            TypeError, ValueError: it cannot be sent.
            MissingPackage: what writes it is not installed.
        """
        if isinstance(name, str):
            return check_name(name), content_of(body)
        kind = type(name)
        known = self.outgoing.get(kind) or self._learn(kind, name)
        if body is not None:
            raise TypeError(
                f"{kind.__qualname__} is a message by itself: it is sent without a body"
            )
        return known[1], known[0](name)

    def _learn(self, kind: type, message: Any) -> Outgoing:
        if isinstance(message, type):
            raise TypeError(
                f"{message.__qualname__} is a type of messages, if anything: send an object of it, "
                f"{message.__qualname__}(...)"
            )
        plain = check_message_type(kind)
        codec = self.codec(kind)
        name = named(plain, codec)
        if len(self.outgoing) >= _MOST_TYPES:
            self.outgoing.clear()
        known = self.outgoing[kind] = (codec.encode, name, plain, getattr(name, "key", plain))
        return known

    # Handlers

    def prepare(self, kinds: Iterable[type]) -> None:
        """Find out whether messages of these types can be read, and those asked can be answered.

        Raises:
            TypeError, MissingPackage: one cannot.
        """
        for kind in kinds:
            if kind not in self._prepared:
                try:
                    self.codec(kind)
                    if issubclass(kind, Ask):
                        self.answers(kind)
                except (TypeError, NameError, RuntimeError) as error:
                    raise TypeError(f"{kind.__qualname__} can be no message: {error}") from error
                self._prepared.add(kind)

    def decoding(self, call: Call, kind: Any) -> Call:
        """The call that takes bytes, for one that takes a message of a type."""
        if full_name(kind, "FromString") is not None and self._given_to(kind) is None:
            return parsing_call(call, kind)
        read = self.codec(kind).decode
        name = kind.__qualname__

        def decode_and_call(from_pid: Any, body: bytes) -> Any:
            try:
                message = read(body)
            except Exception as error:
                raise DoesNotParse.of(body, name, error) from error
            return call(from_pid, message)

        def parse(body: bytes) -> Any:
            try:
                return read(body)
            except Exception as error:
                raise DoesNotParse.of(body, name, error) from error

        decode_and_call.parse = parse  # type: ignore[attr-defined]
        return decode_and_call

    # Asks

    def answers(self, kind: Any, wanted: Any = None) -> AnswerForm | None:
        """How messages of a type are answered; None if that is bytes or any protocol buffer.

        Args:
            kind: the type of what is asked, or its name.
            wanted: that of the answers, where ``kind`` does not say it.

        Raises:
            TypeError: answers of their type cannot be written, or ``wanted`` is no type.
        """
        if not (wanted is None or isinstance(wanted, type) or is_annotation(wanted)):
            raise TypeError(
                f"reply takes the type of the answer, such as int or list[str], got {wanted!r}"
            )
        is_name = isinstance(kind, str)
        if wanted is None and (is_name or not issubclass(kind, Ask)):
            return None
        form = self._forms.get((kind, wanted))
        if form is None:
            how = form_of(kind) or "json"
            what = asked_type(kind) if wanted is None else wanted
            form = answer_form(
                kind if is_name else check_message_type(kind),
                what,
                lambda one: self.codec(one, how),
                lambda one: is_message_type(one) or self._given_to(one) is not None,
            )
            if len(self._forms) >= _MOST_TYPES:
                self._forms.clear()
            self._forms[kind, wanted] = form
        return form
