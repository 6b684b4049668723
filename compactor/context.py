"""``Context``: a listening address, an event loop, and the processes that live there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Literal, overload

from compactor import errors
from compactor.actor.bound import Bound
from compactor.actor.circles import Circles
from compactor.actor.mailbox import Mailbox
from compactor.actor.message_types import MessageTypes
from compactor.actor.messages import Message
from compactor.actor.supervision import Policy
from compactor.errors import ContextError, InvalidProcess, NotOneProcess, ProcessError
from compactor.inbound.listen import listen
from compactor.metrics.metrics import Metrics
from compactor.pid import PID, Address, check_pid
from compactor.process import Process
from compactor.runtime import hot_path
from compactor.runtime.arguments import check_access, check_delegate, check_loop
from compactor.runtime.asking import ContextAsking
from compactor.runtime.dispatching import ContextDispatching
from compactor.runtime.hooks import ContextHooks
from compactor.runtime.legacy import LegacyState, port_of
from compactor.runtime.messages import ContextMessages
from compactor.runtime.runtime import Runtime
from compactor.runtime.singleton import singleton
from compactor.runtime.spawning import ContextSpawning, spawn, spawn_supervised
from compactor.runtime.timing import ContextTiming
from compactor.runtime.waiting import ContextWaiting
from compactor.settings import Settings
from compactor.wire.encoder import Body, check_name, content_of

if TYPE_CHECKING:
    from compactor.auth.access import Access
    from compactor.tls.credentials import Tls
    from compactor.tls.settings import TlsSettings


class Context(
    ContextAsking,
    ContextDispatching,
    ContextHooks,
    ContextMessages,
    ContextSpawning,
    ContextTiming,
    ContextWaiting,
    LegacyState,
):
    """A listening (ip, port) and an event loop, on which processes are spawned.

    Every method may be called from any thread, from handlers too, and before the loop runs; none
    waits for the loop.  The loop runs in a daemon thread, started by the first call that needs
    it; or it is the caller's own::

        async with Context() as context:
            context.spawn(process)

    Args:
        delegate: id of the process that serves HTTP requests to unknown paths.
        loop: an event loop to use instead of a new one.
        ip: address to bind; default ``LIBPROCESS_IP``, else all interfaces.
        port: port to bind; default ``LIBPROCESS_PORT``, else an ephemeral one.
        advertise_ip: address that pids carry; default ``LIBPROCESS_ADVERTISE_IP``, else the bound
            one, or that of the interface that leads out of this host.
        advertise_port: port that pids carry; default ``LIBPROCESS_ADVERTISE_PORT``, else the
            bound one.
        settings: bounds and times, see :class:`compactor.Settings`.
        tls: TLS on all connections, see :class:`compactor.TlsSettings`; default what the variables
            ``LIBPROCESS_SSL_...`` say; False for none whatever they say.
        local_handover: whether it meets other contexts of this OS process that want that, too, in
            memory instead of through the kernel; default the setting of that name.
        access: who may ask for what over HTTP, see :class:`compactor.auth.Access`; None if
            everybody may.

    Raises:
        SettingsError: an argument or variable has a bad value, or a file of TLS is unusable.
        TypeError, ValueError: the same, of ``delegate``, ``loop`` and ``access``.
        SocketError: the address cannot be bound.
    """

    Error = errors.ContextError
    SocketError = errors.SocketError
    InvalidProcess = errors.InvalidProcess
    InvalidMethod = errors.InvalidMethod
    Stopped = errors.ContextStopped

    CONNECT_TIMEOUT_SECS = int(Settings.connect_timeout)

    _singleton: Context | None = None
    _new_runtime: type[Runtime] = Runtime

    def __init__(
        self,
        delegate: str = "",
        loop: asyncio.AbstractEventLoop | None = None,
        ip: str | None = None,
        port: int | None = None,
        advertise_ip: str | None = None,
        advertise_port: int | None = None,
        settings: Settings | None = None,
        tls: TlsSettings | Literal[False] | None = None,
        local_handover: bool | None = None,
        access: Access | None = None,
    ) -> None:
        self.settings = Settings.from_environ(
            base=settings,
            ip=ip,
            port=port_of(port),
            advertise_ip=advertise_ip,
            advertise_port=advertise_port,
            local_handover=local_handover,
        )
        self.delegate = check_delegate(delegate)
        self._types = MessageTypes()
        loop, access = check_loop(loop), check_access(access)
        self._tls = _load_tls(tls)
        is_secure = self._tls is not None and not self._tls.settings.support_downgrade
        sock, (self.ip, self.port) = self._listen(is_secure)
        given = (self.settings, self.delegate, hot_path.chosen, self._tls, access)
        runtime = self._new_runtime((self.ip, self.port), *given)
        self._guard = runtime.guard
        self._pid_of = runtime.backend.pid_of
        self._handler_table = runtime.backend.handler_table
        self._inquiry, self._answering = runtime.backend.Inquiry, runtime.backend.Answering
        super().__init__(runtime, sock, f"CompactorContext({self.ip}:{self.port})", loop)
        registry = self._registry = runtime.registry
        self._circles = Circles(registry.live, registry.is_local)
        self._dispatcher = runtime.backend.Dispatcher(
            registry.live, self._portal, registry.is_local, self._not_alive, self._ask
        )

    def _listen(self, is_secure: bool) -> tuple[Any, Address]:
        return listen(self.settings, is_secure)

    @classmethod
    def singleton(cls, delegate: str = "", **kw: Any) -> Context:
        """The global context, made and started by the first call, and anew after it was stopped.

        Args:
            delegate, kw: what ``Context`` takes.

        Raises:
            RuntimeError: it exists, with another delegate or other arguments than those given.
        """
        context: Context = singleton(cls, delegate, **kw)
        return context

    def reload_tls(self) -> None:
        """Read keys, certificates and CAs anew, for the connections from now on.

        Open connections stay as they are.

        Raises:
            SettingsError: a file cannot be used; what was read before stays in use.
            ContextError: this context has no TLS.
        """
        if self._tls is None:
            raise ContextError(f"{self} has no TLS to reload; give it tls=TlsSettings(...)")
        self._tls.reload()

    # Processes

    @property
    def pid(self) -> PID:
        """The pid of the only process.

        Raises:
            NotOneProcess: there is none, or more than one; use ``process.pid``.
        """
        pids = [mailbox.pid for mailbox in list(self._registry.live.values())]
        if len(pids) != 1:
            found = ", ".join(sorted(str(pid) for pid in pids[:5])) or "none"
            raise NotOneProcess(
                f"context.pid is the pid of the only process, but {self} has {len(pids)} "
                f"({found}); use the pid of the process that you mean"
            )
        return pids[0]

    def spawn(
        self,
        process: Process | Callable[[], Process],
        on_failure: Policy | None = None,
        mailbox: Bound | None = None,
    ) -> PID:
        """Give a process its pid, run its ``initialize`` here and now, and let it receive.

        What arrives before ``initialize`` returns waits.  If it raises, nothing has been spawned.

        Args:
            process: the process; or a callable that makes it, called here and now, and by
                ``Restart`` again, on the loop.
            on_failure: what is done when a handler raises: ``Resume()``, ``Stop()``,
                ``Restart(...)`` or ``Escalate()``.  None is as ``Resume()``: that is logged, and
                the process goes on.
            mailbox: how many events may wait; None for the bounds in the settings.

        Raises:
            InvalidProcess: a live process has that name, or this one lives already.
            ContextStopped: the context was stopped.
            ContextError: threads are greenlets, which the loop would block.
            TypeError: ``process`` is neither a Process nor a callable that makes one; or
                ``Restart`` was given no callable.
        """
        if (self._life.is_stopping or not self._life.is_started) and not self._is_draining_here:
            self._check_startable()
        if on_failure is None and mailbox is None and isinstance(process, Process):
            return spawn(self, process)
        return spawn_supervised(self, process, on_failure, mailbox)

    def _hosts(self, process: Process) -> bool:
        """Whether a process that was bound to this context lives."""
        mailbox = self._registry.mailbox_of(process.pid)
        return mailbox is not None and mailbox.process is process

    def terminate(self, pid: PID, inject: bool = True) -> None:
        """End a process; nothing happens if it has ended already.

        Args:
            pid: a pid of this context.
            inject: at once, dropping what is queued; False: after what is queued.

        Raises:
            InvalidProcess: the pid belongs to another context.
        """
        if type(pid) is not PID:
            check_pid(pid)
        mailbox = self._registry.mailbox_of(pid)
        if mailbox is None:
            if not self._registry.is_local(pid):
                raise InvalidProcess(
                    f"{pid} does not live on {self}: only its own processes end here"
                )
            return
        if self._portal.thread == get_ident():
            mailbox.terminate(inject)
        else:
            self._call(self._runtime.supervision.terminating(mailbox), inject)

    def _not_alive(self, pid: PID) -> ContextError:
        if not self._portal.on_loop:  # handlers go on while a context ends
            self._check_usable()
        return InvalidProcess(f"Unknown process {pid}: it does not live on {self}")

    # Messages

    @overload
    def send(self, from_pid: PID, to_pid: PID, method: str, body: Body | None = None) -> None: ...
    @overload
    def send(self, from_pid: PID, to_pid: PID, method: Message) -> None: ...
    def send(self, from_pid: PID, to_pid: PID, method: Any, body: Body | None = None) -> None:
        """Send a message from a process of this context; ``Process.send`` does it.

        Messages from one context to one other arrive in order, at most once.  What cannot be
        delivered becomes a dead letter.

        Args:
            from_pid: the sender, a process of this context.
            to_pid: the receiver.
            method: the message name; or a message of a type, without a body.
            body: the content, or None for none.

        Raises:
            InvalidProcess: the sender is no process of this context.
            ContextStopped: the context was stopped.
            TypeError, ValueError: the receiver, name, body or message cannot be sent.
        """
        check_pid(from_pid)
        mailbox = self._registry.mailbox_of(from_pid)
        if mailbox is None:
            raise self._not_alive(from_pid)
        check_pid(to_pid)
        if isinstance(method, str):
            name = check_name(method)
            content = body if type(body) is bytes else content_of(body)
        else:
            name, content = self._types.message(method, body)
        if self._portal.on_loop:
            self._send(mailbox, to_pid, name, content)
        else:
            self._ask(self._send, mailbox, to_pid, name, content)

    def _send(self, mailbox: Mailbox, to: PID, name: str, body: bytes) -> None:
        if mailbox.outbox is None:
            self._open_outbox(mailbox)
        if not mailbox.outbox.send(to, name, body):  # pyright: ignore[reportOptionalMemberAccess]
            self._runtime.send(mailbox, to, name, body)

    def _open_outbox(self, mailbox: Mailbox) -> None:
        """Let a process send the short way, past ``send`` unless that is somebody else's."""
        runtime = self._runtime
        outbox = mailbox.outbox = runtime.backend.Outbox(
            mailbox,
            self._registry.live,
            self._portal,
            self.settings.max_mailbox_events,
            runtime.send,
            self._types.outgoing,
        )
        if type(self).send is Context.send and "send" not in vars(self):
            mailbox.process.__use_outbox__(outbox)

    async def drained(self, pid: PID, to: PID) -> None:
        """Wait while too much is still here of what goes to ``to``; ``Process.drained`` does it.

        Raises:
            ContextError: it is not awaited on the context's loop.
            ProcessError: a process cannot wait for itself.
        """
        check_pid(to)
        if not self._portal.is_served_here:
            raise ContextError(
                "drained() is awaited on the context's loop: in a handler, or in what is dispatched"
            )
        if to == pid:
            raise ProcessError(f"{pid} would wait for itself, forever")
        if not self._portal.on_loop:  # some of what was sent is still on its way to the loop
            caught_up = asyncio.Event()
            self._portal.post(caught_up.set)
            await caught_up.wait()
        await self._runtime.drained(to)

    def delegated(self, process: Process, name: str, from_pid: PID, body: bytes) -> None:
        """Forward a message that ``process`` does not handle to where it delegates it."""
        self._call(self._runtime.delegated, process, name, from_pid, body)

    @property
    def metrics(self) -> Metrics:
        """What this context has counted."""
        return self._runtime.metrics

    # Links

    def link(self, pid: PID, to: PID, reconnect: bool = False) -> None:
        """Let a process of this context watch another; ``Process.link`` does it.

        Args:
            pid: the linker, a process of this context.
            to: the pid to watch, local or remote.
            reconnect: replace the connection to its address.

        Raises:
            InvalidProcess: the linker is no process of this context.
            ContextStopped: the context was stopped.
        """
        check_pid(pid)
        check_pid(to)
        if self._registry.mailbox_of(pid) is None:
            raise self._not_alive(pid)
        self._ask(self._runtime.watches.link, pid, to, reconnect)

    def disconnect(self, pid: PID) -> None:
        """Cut the connection to the address of a pid; linkers of all pids there see an exit."""
        check_pid(pid)
        self._call(self._runtime.disconnect, pid.address)

    def __str__(self) -> str:
        return f"Context({self.ip}:{self.port})"

    def __repr__(self) -> str:
        return f"<{self}>"


def _load_tls(given: TlsSettings | Literal[False] | None) -> Tls | None:
    from compactor.tls.credentials import load_tls  # not by a mere import of compactor

    return load_tls(given)
