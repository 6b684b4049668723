"""``Installing``: the decorators that say what a method handles, and what checkers know of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar, overload

from compactor.actor.class_checks import check_health_check
from compactor.actor.codecs import form_of, is_model, msgspec_module
from compactor.actor.handlers import (
    CHECK_ATTRIBUTE,
    INSTALL_ATTRIBUTE,
    ROUTE_ATTRIBUTE,
    Method,
    mark,
    mark_answer,
    mark_traits,
)
from compactor.actor.messages import (
    Ask,
    AsksFor,
    Message,
    ProtobufMessage,
    asked_type,
    check_message_type,
    is_message_type,
)
from compactor.actor.patterns import check_pattern, is_pattern
from compactor.actor.protobuf import full_name
from compactor.actor.realms import realm_trait
from compactor.actor.route_methods import RoutePath, names_of
from compactor.http.request import Request
from compactor.http.response import Response
from compactor.pid import PID
from compactor.wire.encoder import check_name

Self = TypeVar("Self")
Result = TypeVar("Result")
Answer = TypeVar("Answer")
Kind = TypeVar("Kind", bound=Message)
Check = TypeVar("Check", bound=Callable[[Any], Any])
AskKind = TypeVar("AskKind", bound=Ask[Any])
Buffer = TypeVar("Buffer", bound=ProtobufMessage)
Kind_co = TypeVar("Kind_co", covariant=True)
Buffer_co = TypeVar("Buffer_co", covariant=True)
RawMethod = TypeVar("RawMethod", bound=Callable[[Any, PID, bytes], Any])
RawAnswer = bytes | bytearray | memoryview | None
RawAnswerMethod = TypeVar(
    "RawAnswerMethod",
    bound=Callable[[Any, PID, bytes], RawAnswer | Coroutine[Any, Any, RawAnswer]],
)


class _Marking:
    """Marks a method with what it handles.

    Args:
        name: of the messages.
        kind: their type; None for bytes.
        is_open: whether HTTP requests may ask for what the method returns; None if that is no
            answer.
        traits: which traits it has, by name.
    """

    __slots__ = ("_is_open", "_kind", "_name", "_traits")

    def __init__(self, name: str, kind: Any, is_open: bool | None = None, **traits: bool) -> None:
        self._name = name
        self._kind = kind
        self._is_open = is_open
        self._traits = traits

    def __call__(self, function: Any) -> Any:
        mark(function, INSTALL_ATTRIBUTE, (self._name, self._kind))
        mark_traits(function, INSTALL_ATTRIBUTE, self._name, **self._traits)
        is_open = self._is_open
        return function if is_open is None else mark_answer(function, self._name, is_open)


class InstallsBytes(_Marking):
    """Decorates a method that handles the bytes of messages."""

    def __call__(self, function: RawMethod) -> RawMethod:
        """Mark a method that takes ``from_pid`` and bytes."""
        method: RawMethod = super().__call__(function)
        return method


class AnswersBytes(_Marking):
    """Decorates a method that answers bytes with bytes."""

    def __call__(self, function: RawAnswerMethod) -> RawAnswerMethod:
        """Mark a method that takes ``from_pid`` and bytes, and returns bytes or None."""
        method: RawAnswerMethod = super().__call__(function)
        return method


class Installs(_Marking, Generic[Kind_co]):
    """Decorates a method that handles messages of a type.

    Checkers know of the method what it returns, but no more what it takes: it may be a union, of
    which other decorators above this one install other types.
    """

    def __call__(
        self, function: Callable[[Self, PID, Kind_co], Result]
    ) -> Callable[[Self, PID, Any], Result]:
        """Mark a method that takes ``from_pid`` and such a message."""
        method: Callable[[Self, PID, Any], Result] = super().__call__(function)
        return method


class Answers(_Marking, Generic[Kind_co]):
    """Decorates a method that answers messages of a type."""

    @overload
    def __call__(
        self: Answers[AsksFor[Answer]], function: Callable[[Self, PID, Kind_co], Answer]
    ) -> Callable[[Self, PID, Any], Answer]: ...
    @overload
    def __call__(
        self: Answers[AsksFor[Answer]],
        function: Callable[[Self, PID, Kind_co], Coroutine[Any, Any, Answer]],
    ) -> Callable[[Self, PID, Any], Coroutine[Any, Any, Answer]]: ...
    def __call__(self, function: Any) -> Any:
        """Mark a method that takes ``from_pid`` and such a message, and returns its answer."""
        return super().__call__(function)


class AnswersBuffers(_Marking, Generic[Buffer_co]):
    """Decorates a method that answers protocol buffers of a type with others."""

    @overload
    def __call__(
        self,
        function: Callable[[Self, PID, Buffer_co], Coroutine[Any, Any, ProtobufMessage]],
    ) -> Callable[[Self, PID, Any], Coroutine[Any, Any, ProtobufMessage]]: ...
    @overload
    def __call__(
        self, function: Callable[[Self, PID, Buffer_co], ProtobufMessage]
    ) -> Callable[[Self, PID, Any], ProtobufMessage]: ...
    def __call__(self, function: Any) -> Any:
        """Mark a method that takes ``from_pid`` and such a message, and returns one of any type."""
        return super().__call__(function)


class Installing:
    """The part of ``Process`` that says what methods handle."""

    @classmethod
    def route(
        cls,
        path: str,
        *,
        methods: Iterable[str] | None = None,
        concurrent: bool = False,
        stream: bool = False,
        realm: str | None = None,
    ) -> Callable[[Method], Method]:
        """Decorate a method to serve HTTP requests to ``/<id><path>``.

        The method takes a :class:`compactor.Request`; it returns ``str``, ``bytes``, a
        JSON-able value or a :class:`compactor.Response`, or calls ``request.write``.

        Args:
            path: may have parameters, as ``/items/{item}``, which are in ``request.path_params``.
            methods: the HTTP methods that it serves, as ``["GET"]``; all of them if there are none.
                Others are answered with 405, and ``HEAD`` and ``OPTIONS`` are served by themselves.
            concurrent: as for ``install``.
            stream: whether it is called when the head of a request has come, and reads the body as
                it comes, by ``async for piece in request.stream()``; ``request.body`` is empty.
            realm: whose authenticators have to know who sends a request, see
                :class:`compactor.auth.Access`; ``request.principal`` is who that is.

        Raises:
            ValueError: ``path`` does not start with ``/``, or ends with it; a parameter or realm is
                malformed; no request can match; a method is none of HTTP.
            TypeError: ``methods`` is no list of names, or ``realm`` no name.
        """
        path = _checked_path(path, methods)
        traits = {"concurrent": concurrent, "streamed": stream, **realm_trait(realm)}

        def wrap(function: Method) -> Method:
            mark(function, ROUTE_ATTRIBUTE, path)
            for name in names_of(path):
                mark_traits(function, ROUTE_ATTRIBUTE, name, **traits)
            return function

        return wrap

    @classmethod
    def static(
        cls,
        path: str,
        folder: str | os.PathLike[str],
        *,
        index: str | None = "index.html",
        realm: str | None = None,
    ) -> Callable[[Any, Request], Response]:
        """A route that serves the files below a folder, as an attribute of a class::

            class Site(Process):
                assets = Process.static("/assets", "/srv/assets")

        No path leads outside of the folder, and no symbolic link below it is followed.

        Args:
            path: as for ``route``; ``/assets`` serves ``/assets/css/site.css``.
            folder: its path.
            index: the file that stands for a folder whose path ends with ``/``; None for 404.
            realm: as for ``route``.

        Raises:
            TypeError: ``folder`` is no path.
            ValueError: as for ``route``.
        """
        if not isinstance(folder, (str, os.PathLike)):
            raise TypeError(f"a folder is a str or Path, not {folder!r}")

        def serve(self: Any, request: Request) -> Response:
            return Response.file_below(folder, request.below, index)

        return cls.route(path, methods=["GET"], realm=realm)(serve)

    @classmethod
    def health_check(cls, function: Check) -> Check:
        """Decorate a method to tell whether the process is healthy, for ``/health``.

        It takes nothing, and returns None or True if all is well, else the reason why it is not,
        as a ``str``, or False.  It may be ``async``, and may raise.  It runs as an event of its
        process, before all that waits.  What is not there in ``health_timeout`` seconds is a reason
        as well::

            class Store(Process):
                @Process.health_check
                def has_room(self):
                    if self.free < 1_000_000:
                        return f"only {self.free} bytes are free"

        Raises:
            TypeError: it is no method, takes more than ``self``, or has a ``yield``.
        """
        check_health_check(function)
        return mark(function, CHECK_ATTRIBUTE, True)

    @overload
    @classmethod
    def install(cls, mbox: str, *, concurrent: bool = False) -> InstallsBytes: ...
    @overload
    @classmethod
    def install(cls, mbox: type[Kind], *, concurrent: bool = False) -> Installs[Kind]: ...
    @classmethod
    def install(cls, mbox: Any, *, concurrent: bool = False) -> Any:
        """Decorate a method to handle messages; it takes ``from_pid``, and the body or the message.

        One method can be installed under several names.

        Args:
            mbox: the name of messages, whose bytes the method takes; or the type of messages, which
                it takes as they are: a dataclass, a ``msgspec.Struct``, a class of attrs, a
                NamedTuple, a pydantic model, or a protocol buffer.  What does not parse is logged
                and counted, and does not reach it.
            concurrent: whether an ``async`` method lets the next event of the process begin while
                it awaits; up to ``max_concurrent_handlers`` of one process do.

        Raises:
            TypeError, ValueError: no message can have that name or type.
            MissingPackage: what reads messages of that type is not installed.
        """
        name, kind = _name_and_kind(mbox)
        if kind is None:
            return InstallsBytes(name, None, concurrent=concurrent)
        return Installs(name, kind, concurrent=concurrent)

    @overload
    @classmethod
    def answer(
        cls,
        mbox: str,
        *,
        http: bool = True,
        cancellable: bool = True,
        concurrent: bool = False,
        realm: str | None = None,
    ) -> AnswersBytes: ...
    @overload
    @classmethod
    def answer(
        cls,
        mbox: type[AskKind],
        *,
        http: bool = True,
        cancellable: bool = True,
        concurrent: bool = False,
        realm: str | None = None,
    ) -> Answers[AskKind]: ...
    @overload
    @classmethod
    def answer(
        cls,
        mbox: type[Buffer],
        *,
        http: bool = True,
        cancellable: bool = True,
        concurrent: bool = False,
        realm: str | None = None,
    ) -> AnswersBuffers[Buffer]: ...
    @classmethod
    def answer(
        cls,
        mbox: Any,
        *,
        http: bool = True,
        cancellable: bool = True,
        concurrent: bool = False,
        realm: str | None = None,
    ) -> Any:
        """Decorate a method to answer messages: what it returns is the answer.

        The method takes ``from_pid``, and the body or the message; it may be ``async``.  Asked by
        name it returns bytes, or None for none.  A message that is an ``Ask[int]`` is answered with
        an ``int``, a protocol buffer with a protocol buffer.  What the method raises is a
        :class:`compactor.errors.RemoteError` where it was asked.  To a message that was sent, and
        not asked, there is no answer.

        Args:
            mbox: as for ``install``.
            http: whether a plain HTTP request to ``/<id>/<name>`` asks as well.
            cancellable: whether an ``async`` method is cancelled when nobody waits for its answer
                any more: the ask was cancelled, or its time is over.
            concurrent: as for ``install``.
            realm: as for ``route``, of those HTTP requests; messages are in no realm.

        Raises:
            TypeError, ValueError: no message can have that name or type, or none asks with it;
                no realm has that name, or there is one and ``http`` is not set.
            MissingPackage: what reads messages of that type is not installed.
        """
        name, kind = _name_and_kind(mbox)
        if realm is not None and not http:
            raise ValueError(f"{name!r} has a realm, which is for HTTP requests, and http=False")
        traits = {"uncancellable": not cancellable, "concurrent": concurrent, **realm_trait(realm)}
        if kind is None:
            return AnswersBytes(name, None, http, **traits)
        if full_name(kind, "FromString") is None and not issubclass(kind, Ask):
            asked_type(kind)
        return Answers(name, kind, http, **traits)


def _checked_path(path: Any, methods: Iterable[str] | None) -> str:
    """The path of a route, with the methods that it is for."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError(f'Routes must start with "/", got {path!r}')
    if path != "/" and path.endswith("/"):
        raise ValueError(f'Routes must not end with "/", got {path!r}')
    if methods is not None or is_pattern(path):
        check_pattern(path)
    return path if methods is None else RoutePath(path, methods)


def _name_and_kind(mbox: Any) -> tuple[str, Any]:
    """The name of messages, and their type; None for bytes."""
    if isinstance(mbox, str):
        return check_name(mbox), None
    name = check_message_type(mbox)
    form_of(mbox)
    if is_message_type(mbox) and not (is_model(mbox) or full_name(mbox, "FromString")):
        msgspec_module()
    return name, mbox
