"""``Process`` and ``ProtobufProcess``: what users subclass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, KeysView
from typing import Any, ClassVar, TypeVar, overload

from compactor.actor.asking import Asking, ProtobufAsking
from compactor.actor.class_checks import check_class
from compactor.actor.handlers import (
    INSTALL_ATTRIBUTE,
    ROUTE_ATTRIBUTE,
    HandlerTable,
    bound,
    handler_table,
    mark,
    mark_answer,
    mark_traits,
)
from compactor.actor.ids import generated_id
from compactor.actor.measuring import Measuring
from compactor.actor.messages import Message, ProtobufMessage
from compactor.actor.process_owner import ProcessOwner, ShortWay
from compactor.actor.protobuf import (
    message_name,
    parser_of,
    parsing,
    type_name,
)
from compactor.actor.realms import realm_trait
from compactor.actor.supervising import Supervising
from compactor.actor.timing import Timing
from compactor.actor.typed_handlers import AnswersBuffers, Installing, Installs
from compactor.errors import ProcessError, UnboundProcess
from compactor.pid import PID, check_id
from compactor.wire.encoder import Body, check_name

Buffer = TypeVar("Buffer", bound=ProtobufMessage)


class Process(Asking, Installing, Measuring, Supervising, Timing):
    """An actor: it handles one event at a time, and is reached by its pid.

    Subclass it, install methods, and spawn it on a :class:`compactor.Context`::

        class Ping(Process):
            @Process.install("ping")
            def ping(self, from_pid, body):
                self.send(from_pid, "pong", body)

    Handlers, routes and dispatched methods may be ``async def``.  The next event waits until that
    one is done, unless it is a handler or route with ``concurrent=True``; ``terminate`` cancels it.

    Args:
        name: the id of its pid; None for the name of its class in small letters with a number, as
            ``worker(1)``.

    Raises:
        TypeError, ValueError: the name cannot stand in a pid.
    """

    ROUTE_ATTRIBUTE: ClassVar[str] = ROUTE_ATTRIBUTE
    INSTALL_ATTRIBUTE: ClassVar[str] = INSTALL_ATTRIBUTE

    Error = ProcessError
    UnboundProcess = UnboundProcess

    # Names without a leading "__" belong to subclasses: pesos and others use many.
    __context: Any = None
    __outbox: ShortWay | None = None
    __pid: PID | None = None
    __delegates: dict[str, PID] | None = None
    __table: HandlerTable | None = None
    __checked: str | None = None  # the name that can stand in a pid

    def __init_subclass__(cls, **kw: Any) -> None:
        super().__init_subclass__(**kw)
        check_class(cls, Process)

    def __init__(self, name: str | None = None) -> None:
        if name is None:
            self.name: str = generated_id(type(self).__name__.lower())
            return
        self.name = self.__checked = check_id(name)
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
        return self.__handlers__().routes.keys()

    @property
    def message_names(self) -> KeysView[str]:
        """The names of all messages that are handled."""
        return self.__handlers__().messages.keys()

    def iter_routes(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        """Yield (path, bound method) of every route."""
        for path, method in self.__handlers__().routes.items():
            yield path, bound(method, self)

    def iter_handlers(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        """Yield (message name, bound method) of every installed method."""
        for name, (method, _) in self.__handlers__().messages.items():
            yield name, bound(method, self)

    def bind(self, context: ProcessOwner) -> PID:
        """Tie this process to a context; ``spawn`` does it.

        Returns:
            The pid that it has from now on.

        Raises:
            ProcessError: it lives already, or has no name.
            InvalidProcess: the context does not know a realm of it.
            TypeError: ``context`` is no context, or messages of a type cannot be read or answered.
        """
        if self.__context is not None and self.__context._hosts(self):
            raise ProcessError(f"{self} lives already; a process is spawned once at a time")
        try:
            pid_of, table_of = context._pid_of, context._handler_table
        except AttributeError:
            raise TypeError(f"Can only bind to a Context, got {type(context)}") from None
        try:
            name = self.name
        except AttributeError:
            raise ProcessError(
                f"{type(self).__name__} did not call Process.__init__(name)"
            ) from None
        if name is not self.__checked:
            name = check_id(name)
        table = table_of(type(self))
        if table.kinds:
            context._types.prepare(table.kinds)
        if table.traits or context._guard is not None:
            context._check_endpoints(self, name, table)
        pid = self.__pid = pid_of(context.ip, context.port, name)
        self.__context = context
        self.__outbox = self.__asker__ = None
        self.__table = table
        return pid

    def __unbind__(self) -> None:
        """Undo ``bind``, after ``initialize`` has failed."""
        self.__pid = self.__context = self.__outbox = self.__table = self.__asker__ = None

    def __handlers__(self) -> HandlerTable:
        """What its class handled when this process was spawned; before that, handles now."""
        return self.__table or handler_table(type(self))

    def __use_outbox__(self, outbox: ShortWay) -> None:
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

    def __is_deaf_to__(self, name: str) -> bool:
        """Whether a message that is not installed is handled by nobody."""
        return type(self).handle_message is Process.handle_message and not self.__delegate_of__(
            name
        )

    def handle_message(self, name: str, from_pid: PID, body: bytes) -> Any:
        """Handle one message; override it to see every message of the process."""
        messages = self.__handlers__().messages
        if name in messages:
            method, message_type = messages[name]
            call = bound(method, self)
            if message_type is not None:
                if hasattr(message_type, "DESCRIPTOR"):
                    return call(from_pid, parser_of(message_type)(body))
                call = self.context._types.decoding(call, message_type)
            return call(from_pid, body)
        self.context.delegated(self, name, from_pid, body)
        return None

    def handle_http(self, route: str, handler: Any, *args: Any, **kw: Any) -> Any:
        """Serve one HTTP request; override it to see every request of the process."""
        return bound(self.__handlers__().routes[route], self)(handler, *args, **kw)

    def initialize(self) -> Any:
        """Called on spawning, on the caller's thread, before any event.

        An ``async def initialize`` runs on the loop instead, as the first event; if it raises, the
        process ends.
        """

    def finalize(self) -> Any:
        """Called on the loop as the last event, once the process is being terminated."""

    def exited(self, pid: PID, *reason: Any, **_: Any) -> Any:
        """Called when a linked process has exited, or can no longer be reached.

        Override it as ``exited(self, pid, reason)`` to be told a :class:`compactor.Reason` too,
        and as ``exited(self, pid, reason, detail)`` for the text of the cause, if it has failed.
        The link is used up: link again to watch ``pid`` again.
        """

    @overload
    def send(self, to: PID, method: str, body: Body | None = None) -> None: ...
    @overload
    def send(self, to: PID, method: Message) -> None: ...
    def send(self, to: PID, method: Any, body: Body | None = None) -> None:
        """Send a message; at most once, in order per receiver, without waiting.

        Args:
            to: the receiver.
            method: the message name; or a message as ``install`` takes their types, without a body.
            body: the content, or None for none.

        Raises:
            UnboundProcess: this process has not been spawned.
            TypeError, ValueError: the receiver, name, body or message cannot be sent.
            MissingPackage: what writes such messages is not installed.
        """
        outbox = self.__outbox
        if outbox is None or not outbox.send(to, method, body):
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


class ProtobufProcess(ProtobufAsking, Process):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A process whose messages are protocol buffers, named by their full type name.

    Example::

        class Service(ProtobufProcess):
            @ProtobufProcess.install(RequestMessage)
            def request(self, from_pid, message):
                self.send(from_pid, ResponseMessage(id=message.id))
    """

    __outbox: ShortWay | None = None

    @classmethod
    def install(  # type: ignore[override]
        cls, message_type: type[Buffer], *, concurrent: bool = False
    ) -> Installs[Buffer]:
        """Decorate a method to handle messages of a protocol buffer type.

        The method takes ``from_pid`` and the parsed message.  What does not parse is logged and
        counted, and does not reach it.

        Args:
            concurrent: as for ``Process.install``.

        Raises:
            TypeError: ``message_type`` is not a generated message type.
        """
        name, parse = type_name(message_type), parser_of(message_type)

        def wrap(function: Any) -> Any:
            method = mark(parsing(function, parse), INSTALL_ATTRIBUTE, (name, message_type))
            return mark_traits(method, INSTALL_ATTRIBUTE, name, concurrent=concurrent)

        decorator: Installs[Buffer] = wrap  # type: ignore[assignment]
        return decorator

    @classmethod
    def answer(  # type: ignore[override]
        cls,
        message_type: type[Buffer],
        *,
        http: bool = True,
        cancellable: bool = True,
        concurrent: bool = False,
        realm: str | None = None,
    ) -> AnswersBuffers[Buffer]:
        """Decorate a method to answer messages of a protocol buffer type.

        The method takes ``from_pid`` and the parsed message, and returns a protocol buffer.

        Args:
            http: whether a plain HTTP request to ``/<id>/<name of the type>`` asks as well.
            cancellable, concurrent, realm: as for ``Process.answer``.

        Raises:
            TypeError: ``message_type`` is not a generated message type.
        """
        install = cls.install(message_type, concurrent=concurrent)
        name = type_name(message_type)
        traits = {"uncancellable": not cancellable, **realm_trait(realm)}

        def wrap(function: Any) -> Any:
            handler = mark_answer(install(function), name, http)
            return mark_traits(handler, INSTALL_ATTRIBUTE, name, **traits)

        decorator: AnswersBuffers[Buffer] = wrap  # type: ignore[assignment]
        return decorator

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

    def __use_outbox__(self, outbox: ShortWay) -> None:
        super().__use_outbox__(outbox)
        if super().send.__func__ is Process.send:  # type: ignore[attr-defined]
            self.__outbox = outbox  # nobody stands in between
