"""``Process`` and ``ProtobufProcess``: what users subclass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, KeysView
from types import MethodType
from typing import Any, ClassVar, Protocol

from compactor.errors import ProcessError, UnboundProcess
from compactor.frames import Body, check_name
from compactor.handlers import INSTALL_ATTRIBUTE, ROUTE_ATTRIBUTE, Method, handler_table, mark
from compactor.pid import PID, check_id
from compactor.protobuf import message_name, parser_of, parsing, parsing_call, without_parsing
from compactor.routes import Call


class ContextLike(Protocol):
    """What a process asks of its context."""

    ip: str
    port: int

    def send(self, from_pid: PID, to_pid: PID, method: str, body: Body | None = None) -> None: ...
    def link(self, pid: PID, to: PID, reconnect: bool = False) -> None: ...
    def terminate(self, pid: PID, inject: bool = True) -> None: ...
    def delegated(self, process: Any, name: str, from_pid: PID, body: bytes) -> None: ...
    async def drained(self, pid: PID, to: PID) -> None: ...


class Outbox(Protocol):
    """The short way to send."""

    def send(self, to: PID, name: str, body: Body | None) -> bool: ...


def bind_handler(process: Process, name: str) -> Call | None:
    """The call that hands a message named ``name`` to ``process``, or None.

    An attribute of the instance that shadows an installed method is not looked at.
    """
    messages = handler_table(type(process)).messages
    if name not in messages:
        return None  # ``handle_message`` sees it; nothing remembers a name that a peer made up
    if type(process).handle_message is not Process.handle_message:
        return functools.partial(process.handle_message, name)
    attribute, message_type = messages[name]
    method = getattr(type(process), attribute)
    if message_type is None:
        return MethodType(method, process)
    return parsing_call(MethodType(without_parsing(method), process), message_type)


def bind_route(process: Process, route: str) -> Callable[[Any], Any]:
    """The call that hands a request to the route of ``process`` with that path."""
    if type(process).handle_http is not Process.handle_http:
        return functools.partial(process.handle_http, route)
    attribute = handler_table(type(process)).routes[route]
    return MethodType(getattr(type(process), attribute), process)


class Process:
    """An actor: it handles one event at a time, and is reached by its pid.

    Subclass it, install methods, and spawn it on a :class:`compactor.Context`::

        class Ping(Process):
            @Process.install("ping")
            def ping(self, from_pid, body):
                self.send(from_pid, "pong", body)

    Handlers, routes and dispatched methods may be ``async def``: the next event waits until such
    a one is done, and ``terminate`` cancels it.

    Args:
        name: the id of its pid.

    Raises:
        TypeError, ValueError: the name cannot stand in a pid.
    """

    ROUTE_ATTRIBUTE: ClassVar[str] = ROUTE_ATTRIBUTE
    INSTALL_ATTRIBUTE: ClassVar[str] = INSTALL_ATTRIBUTE

    Error = ProcessError
    UnboundProcess = UnboundProcess

    # Names without a leading "__" belong to subclasses: pesos and others use many.
    __context: Any = None
    __outbox: Outbox | None = None
    __pid: PID | None = None
    __delegates: dict[str, PID] | None = None

    @classmethod
    def route(cls, path: str) -> Callable[[Method], Method]:
        """Decorate a method to serve HTTP requests to ``/<id><path>``, whatever their method.

        The method takes a :class:`compactor.http.Request`; it returns ``str``, ``bytes``, a
        JSON-able value or a :class:`compactor.http.Response`, or calls ``request.write``.

        Raises:
            ValueError: ``path`` does not start with ``/``, or ends with it.
        """
        if not isinstance(path, str) or not path.startswith("/"):
            raise ValueError(f'Routes must start with "/", got {path!r}')
        if path != "/" and path.endswith("/"):
            raise ValueError(f'Routes must not end with "/", got {path!r}')
        return lambda function: mark(function, ROUTE_ATTRIBUTE, path)

    @classmethod
    def install(cls, mbox: str) -> Callable[[Method], Method]:
        """Decorate a method to handle messages named ``mbox``; it takes ``from_pid`` and ``body``.

        One method can be installed under several names.

        Raises:
            TypeError, ValueError: no message can have that name.
        """
        name = check_name(mbox)
        return lambda function: mark(function, INSTALL_ATTRIBUTE, (name, None))

    def __init__(self, name: str) -> None:
        self.name = check_id(name)
        if not name:
            raise ValueError("the name of a process must not be empty: no message would reach it")

    @property
    def pid(self) -> PID:
        """The pid of this process.

        Raises:
            UnboundProcess: it has not been spawned.
        """
        if self.__pid is None:
            raise UnboundProcess("Cannot get pid of unbound process.")
        return self.__pid

    @property
    def is_bound(self) -> bool:
        """Whether this process has been spawned; it may have ended since."""
        return self.__context is not None

    @property
    def context(self) -> Any:
        """The context that this process was spawned on.

        Raises:
            UnboundProcess: it has not been spawned.
        """
        if self.__context is None:
            raise UnboundProcess("Cannot get context of unbound process.")
        return self.__context

    @property
    def route_paths(self) -> KeysView[str]:
        """The paths of all routes."""
        return handler_table(type(self)).routes.keys()

    @property
    def message_names(self) -> KeysView[str]:
        """The names of all messages that are handled."""
        return handler_table(type(self)).messages.keys()

    def iter_routes(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        """Yield (path, bound method) of every route."""
        for path, attribute in handler_table(type(self)).routes.items():
            yield path, MethodType(getattr(type(self), attribute), self)

    def iter_handlers(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        """Yield (message name, bound method) of every installed method."""
        for name, (attribute, _) in handler_table(type(self)).messages.items():
            yield name, MethodType(getattr(type(self), attribute), self)

    def bind(self, context: ContextLike) -> None:
        """Tie this process to a context; ``spawn`` does it.

        Raises:
            TypeError: ``context`` is no context.
        """
        if not (hasattr(context, "ip") and hasattr(context, "send") and hasattr(context, "link")):
            raise TypeError(f"Can only bind to a Context, got {type(context)}")
        if not hasattr(self, "name"):
            raise ProcessError(f"{type(self).__name__} did not call Process.__init__(name)")
        self.__pid = PID(context.ip, context.port, self.name)
        self.__context = context
        self.__outbox = None

    def __unbind__(self) -> None:
        """Undo ``bind``, after ``initialize`` has failed."""
        self.__pid = self.__context = self.__outbox = None

    def __use_outbox__(self, outbox: Outbox) -> None:
        """Try ``outbox`` first with every message; the context calls this."""
        self.__outbox = outbox

    def delegate(self, name: str, pid: PID) -> None:
        """Forward messages named ``name``, if no method handles them, to ``pid``.

        The receiver sees the original sender.
        """
        if not isinstance(pid, PID):
            raise TypeError(f"a message is delegated to a PID, got {pid!r}")
        if self.__delegates is None:
            self.__delegates = {}
        self.__delegates[check_name(name)] = pid

    def __delegate_of__(self, name: str) -> PID | None:
        """The pid that messages named ``name`` are delegated to, or None."""
        return self.__delegates.get(name) if self.__delegates else None

    def handle_message(self, name: str, from_pid: PID, body: bytes) -> Any:
        """Handle one message; override it to see every message of the process."""
        table = handler_table(type(self))
        if name in table.messages:
            attribute, message_type = table.messages[name]
            call = MethodType(getattr(type(self), attribute), self)
            if message_type is not None:
                return call(from_pid, parser_of(message_type)(body))
            return call(from_pid, body)
        self.context.delegated(self, name, from_pid, body)
        return None

    def handle_http(self, route: str, handler: Any, *args: Any, **kw: Any) -> Any:
        """Serve one HTTP request; override it to see every request of the process."""
        attribute = handler_table(type(self)).routes[route]
        return MethodType(getattr(type(self), attribute), self)(handler, *args, **kw)

    def initialize(self) -> Any:
        """Called on spawning, on the caller's thread, before any event.

        An ``async def initialize`` runs on the loop instead, as the first event; if it raises, the
        process ends.
        """

    def finalize(self) -> Any:
        """Called on the loop as the last event, once the process is being terminated."""

    def exited(self, pid: PID, *reason: Any) -> Any:
        """Called when a linked process has exited, or can no longer be reached.

        Override it as ``exited(self, pid, reason)`` to be told a :class:`compactor.Reason` too.
        The link is used up: link again to watch ``pid`` again.
        """

    def send(self, to: PID, method: str, body: Body | None = None) -> None:
        """Send a message; at most once, in order per receiver, without waiting.

        Args:
            to: the receiver.
            method: the message name.
            body: the content, or None for none.

        Raises:
            UnboundProcess: this process has not been spawned.
            TypeError, ValueError: the receiver, name or body cannot be sent.
        """
        if self.__outbox is None or not self.__outbox.send(to, method, body):
            if self.__context is None:
                raise UnboundProcess("Cannot send from unbound process.")
            self.__context.send(self.__pid, to, method, body)

    async def drained(self, to: PID) -> None:
        """Wait while too much of what was sent to ``to`` is still here; for ``async`` handlers.

        Returns at once below ``parked_high_water_bytes`` for the address of ``to``, or, if it is
        local, below ``mailbox_high_water`` of its mailbox; else when a quarter of that is left, or
        when what waited has become dead letters::

            async def feed(self):
                for chunk in self.chunks:
                    self.send(self.store, "chunk", chunk)
                    await self.drained(self.store)

        Raises:
            UnboundProcess: this process has not been spawned.
            ProcessError: ``to`` is this process itself, which would wait forever.
            ContextError: it is not awaited on the context's loop.
        """
        await self.context.drained(self.pid, to)

    def link(self, to: PID, reconnect: bool = False) -> None:
        """Have ``exited`` called once when ``to`` exits or its context is lost.

        Args:
            to: the pid to watch, local or remote.
            reconnect: replace the connection to its address by a new one, unnoticed by other
                linkers (libprocess's ``RemoteConnection::RECONNECT``).

        Raises:
            UnboundProcess: this process has not been spawned.
        """
        self.context.link(self.pid, to, reconnect)

    def terminate(self, inject: bool = True) -> None:
        """End this process.

        Args:
            inject: at once, dropping what is queued; False: after what is queued.

        Raises:
            UnboundProcess: this process has not been spawned.
        """
        self.context.terminate(self.pid, inject)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__pid or getattr(self, 'name', 'without a name')}>"


class ProtobufProcess(Process):
    """A process whose messages are protocol buffers, named by their full type name.

    Example::

        class Service(ProtobufProcess):
            @ProtobufProcess.install(RequestMessage)
            def request(self, from_pid, message):
                self.send(from_pid, ResponseMessage(id=message.id))
    """

    __outbox: Outbox | None = None

    @classmethod
    def install(cls, message_type: Any) -> Callable[[Method], Method]:
        """Decorate a method to handle messages of a protocol buffer type.

        The method takes ``from_pid`` and the parsed message.  What does not parse is logged and
        counted, and does not reach it.

        Raises:
            TypeError: ``message_type`` is not a generated message type.
        """
        descriptor = getattr(message_type, "DESCRIPTOR", None)
        if descriptor is None or not hasattr(message_type, "FromString"):
            raise TypeError(
                f"ProtobufProcess.install takes a protobuf message type, got {message_type!r}"
            )

        parse = parser_of(message_type)
        name = str(message_type.DESCRIPTOR.full_name)

        def wrap(function: Method) -> Method:
            handler: Method = parsing(function, parse)
            return mark(handler, INSTALL_ATTRIBUTE, (name, message_type))

        return wrap

    def send(self, to: PID, message: Any) -> None:  # type: ignore[override]
        """Send a protocol buffer.

        Args:
            to: the receiver.
            message: a protocol buffer with all required fields.

        Raises:
            UnboundProcess: this process has not been spawned.
            TypeError: ``message`` is not a protocol buffer.
            google.protobuf.message.EncodeError: a required field is missing.
        """
        name = message_name(message)
        body = message.SerializeToString()
        if self.__outbox is None or not self.__outbox.send(to, name, body):
            super().send(to, name, body)

    def __use_outbox__(self, outbox: Outbox) -> None:
        super().__use_outbox__(outbox)
        if super().send.__func__ is Process.send:  # type: ignore[attr-defined]
            self.__outbox = outbox  # nobody stands in between
