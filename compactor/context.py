"""``Context``: a listening address, an event loop, and the processes that live there."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from compactor import errors, wire
from compactor.address import listen
from compactor.errors import ContextError, InvalidMethod, InvalidProcess, ProcessError, Reason
from compactor.frames import Body, check_name, content_of
from compactor.legacy import LegacyState, port_of
from compactor.lifecycle import LoopOwner
from compactor.loop import Timer
from compactor.mailbox import Mailbox
from compactor.messages import Dispatch, Future
from compactor.metrics import DeadLetter, Metrics
from compactor.pid import NOBODY, PID, Address, check_pid
from compactor.process import Process
from compactor.runtime import Runtime
from compactor.settings import Settings
from compactor.tls import load_tls
from compactor.tls_settings import TlsSettings

Hook = TypeVar("Hook", bound=Callable[[DeadLetter], Any])
PressureHook = TypeVar("PressureHook", bound=Callable[[Address, bool], Any])


class Context(LoopOwner, LegacyState):
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

    Raises:
        SettingsError: an argument or variable has a bad value, or a file of TLS is unusable.
        SocketError: the address cannot be bound.
    """

    Error = errors.ContextError
    SocketError = errors.SocketError
    InvalidProcess = errors.InvalidProcess
    InvalidMethod = errors.InvalidMethod
    Stopped = errors.ContextStopped

    CONNECT_TIMEOUT_SECS = int(Settings.connect_timeout)

    _singleton: Context | None = None
    _singleton_lock = threading.Lock()

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
    ) -> None:
        self.settings = Settings.from_environ(
            base=settings,
            ip=ip,
            port=port_of(port),
            advertise_ip=advertise_ip,
            advertise_port=advertise_port,
        )
        self.delegate = delegate
        self._tls = load_tls(tls)
        is_secure = self._tls is not None and not self._tls.settings.support_downgrade
        sock, (self.ip, self.port) = listen(self.settings, is_secure)
        address = (self.ip, self.port)
        runtime = Runtime(address, self.settings, delegate, wire.chosen, self._tls)
        super().__init__(runtime, sock, f"CompactorContext({self.ip}:{self.port})", loop)

    @classmethod
    def singleton(cls, delegate: str = "", **kw: Any) -> Context:
        """The global context, made and started by the first call, and anew after it was stopped.

        Args:
            delegate, kw: what ``Context`` takes; ``kw`` counts only when it is made.

        Raises:
            RuntimeError: it exists and has another delegate.
        """
        with cls._singleton_lock:
            context = cls._singleton
            if context is None or context._is_stopping:
                context = cls._singleton = cls(delegate=delegate, **kw)
                context.start()
            elif context.delegate != delegate:
                raise RuntimeError(
                    "Attempting to construct different singleton context: it has delegate "
                    f"{context.delegate!r}, not {delegate!r}"
                )
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
            ContextError: there is none, or more than one; use ``process.pid``.
        """
        pids = [mailbox.pid for mailbox in list(self._runtime.live.values())]
        if len(pids) != 1:
            found = ", ".join(sorted(str(pid) for pid in pids[:5])) or "none"
            raise ContextError(
                f"context.pid is the pid of the only process, but {self} has {len(pids)} "
                f"({found}); use the pid of the process that you mean"
            )
        return pids[0]

    def spawn(self, process: Process) -> PID:
        """Give a process its pid, run its ``initialize`` here and now, and let it receive.

        What arrives before ``initialize`` returns waits.  If it raises, nothing has been spawned.

        Raises:
            InvalidProcess: a live process has that name, or this one lives already.
            ContextStopped: the context was stopped.
            TypeError: ``process`` is not a Process.
        """
        if not isinstance(process, Process):
            raise TypeError(f"only a Process can be spawned, got {process!r}")
        self._check_usable()
        if not hasattr(process, "name"):
            raise InvalidProcess(f"{type(process).__name__} did not call Process.__init__(name)")
        if _is_live(process):
            raise InvalidProcess(f"{process} lives already; a process is spawned once at a time")
        process.bind(self)
        mailbox = None
        try:
            mailbox = self._runtime.claim(process)
            initialization = process.initialize()
        except BaseException:
            process.__unbind__()
            if mailbox is not None:
                self._runtime.release(mailbox)
                self._call(mailbox.abandon, Reason.TERMINATED)
            raise
        if initialization is not None and not isinstance(initialization, Coroutine):
            initialization = None
        self._call(self._runtime.start_process, mailbox, initialization)
        return mailbox.pid

    def terminate(self, pid: PID, inject: bool = True) -> None:
        """End a process; nothing happens if it has ended already.

        Args:
            pid: a pid of this context.
            inject: at once, dropping what is queued; False: after what is queued.

        Raises:
            InvalidProcess: the pid belongs to another context.
        """
        check_pid(pid)
        if not self._runtime.is_local(pid):
            raise InvalidProcess(f"{pid} does not live on {self}: only its own processes end here")
        mailbox = self._runtime.mailbox_of(pid)
        if mailbox is not None:
            self._call(mailbox.terminate, inject)

    def _not_alive(self, pid: PID) -> ContextError:
        if not self._inbox.on_loop:  # handlers go on while a context ends
            self._check_usable()
        return InvalidProcess(f"Unknown process {pid}: it does not live on {self}")

    # Messages

    def send(self, from_pid: PID, to_pid: PID, method: str, body: Body | None = None) -> None:
        """Send a message from a process of this context; ``Process.send`` does it.

        Messages from one context to one other arrive in order, at most once.  What cannot be
        delivered becomes a dead letter.

        Args:
            from_pid: the sender, a process of this context.
            to_pid: the receiver.
            method: the message name.
            body: the content, or None for none.

        Raises:
            InvalidProcess: the sender is no process of this context.
            ContextStopped: the context was stopped.
            TypeError, ValueError: the receiver, name or body cannot be sent.
        """
        check_pid(from_pid)
        mailbox = self._runtime.mailbox_of(from_pid)
        if mailbox is None:
            raise self._not_alive(from_pid)
        check_pid(to_pid)
        name = check_name(method)
        content = body if type(body) is bytes else content_of(body)
        if self._inbox.on_loop:
            self._send(mailbox, to_pid, name, content)
        else:
            self._ask(self._send, mailbox, to_pid, name, content)

    def _send(self, mailbox: Mailbox, to: PID, name: str, body: bytes) -> None:
        if mailbox.outbox is None:
            self._open_outbox(mailbox)
        if not mailbox.outbox.send(to, name, body):
            self._runtime.send(mailbox, to, name, body)

    def _open_outbox(self, mailbox: Mailbox) -> None:
        """Let a process send the short way, past ``send`` unless that is somebody else's."""
        runtime = self._runtime
        outbox = mailbox.outbox = runtime.backend.Outbox(
            mailbox, runtime.live, self._inbox, self.settings.max_mailbox_events, runtime.send
        )
        if type(self).send is Context.send and "send" not in vars(self):
            mailbox.process.__use_outbox__(outbox)

    def post(self, to: PID, name: str, body: Body | None = None) -> None:
        """Send a message that names no sender, as libprocess's ``post`` does.

        Raises:
            ContextStopped: the context was stopped.
            TypeError, ValueError: the receiver, name or body cannot be sent.
        """
        check_pid(to)
        self._ask(self._runtime.forward, NOBODY, to, check_name(name), content_of(body))

    async def drained(self, pid: PID, to: PID) -> None:
        """Wait while too much is still here of what goes to ``to``; ``Process.drained`` does it.

        Raises:
            ContextError: it is not awaited on the context's loop.
            ProcessError: a process cannot wait for itself.
        """
        check_pid(to)
        if not self._inbox.is_served_here:
            raise ContextError(
                "drained() is awaited on the context's loop: in a handler, or in what is dispatched"
            )
        if to == pid:
            raise ProcessError(f"{pid} would wait for itself, forever")
        if not self._inbox.on_loop:
            await self._inbox.caught_up()
        await self._runtime.drained(to)

    def delegated(self, process: Process, name: str, from_pid: PID, body: bytes) -> None:
        """Forward a message that ``process`` does not handle to where it delegates it."""
        self._call(self._runtime.delegated, process, name, from_pid, body)

    def on_dead_letter(self, hook: Hook) -> Hook:
        """Have ``hook(dead_letter)`` called, on the loop's thread, for every dead letter.

        Returns:
            The hook, so that this can decorate it.
        """
        self._runtime.metrics.hooks.append(hook)
        return hook

    def on_backed_up(self, hook: PressureHook) -> PressureHook:
        """Have ``hook((ip, port), is_backed_up)`` called, on the loop's thread, whenever more than
        ``parked_high_water_bytes`` wait for an address, and when most of it has left.

        Returns:
            The hook, so that this can decorate it.
        """
        self._runtime.metrics.backed_up_hooks.append(hook)
        return hook

    @property
    def metrics(self) -> Metrics:
        """What this context has counted."""
        return self._runtime.metrics

    # Dispatches

    def dispatch(self, pid: PID, method: str | Callable[..., Any], *args: Any) -> Future[Any]:
        """Call a method of a local process, as an event of it.

        Args:
            pid: a process of this context.
            method: the name of any method, installed or not; or a callable.
            args: its arguments.

        Returns:
            A future for the result: ``result(timeout)`` in a thread, ``await`` in a coroutine.
            It fails with ``ProcessTerminated`` if the process ends first.

        Raises:
            InvalidProcess: no live process of this context has that pid.
            InvalidMethod: the process has no such method.
            ContextStopped: the context was stopped.
        """
        event = self._dispatch(pid, method, args)
        self._ask(event.mailbox.put_event, event)
        return event.future

    def delay(self, amount: float, pid: PID, method: str | Callable[..., Any], *args: Any) -> Timer:
        """Dispatch after a time; not at all if the process has ended by then.

        Args:
            amount: seconds; a time that is over already is no wait.
            pid, method, args: what ``dispatch`` takes.

        Returns:
            A timer, whose ``cancel()`` calls it off from any thread.

        Raises:
            InvalidProcess, InvalidMethod, ContextStopped: as ``dispatch``, at once.
            ValueError: ``amount`` is no number, or is infinite.
        """
        if not isinstance(amount, (int, float)) or not abs(amount) <= sys.float_info.max:
            raise ValueError(f"a delay must be a finite number of seconds, got {amount!r}")
        event = self._dispatch(pid, method, args)
        timer = Timer(self._inbox, lambda: event.mailbox.put_event(event))
        self._ask(self._start_timer, timer, max(amount, 0))
        return timer

    def _dispatch(
        self, pid: PID, method: str | Callable[..., Any], args: tuple[Any, ...]
    ) -> Dispatch:
        check_pid(pid)
        mailbox = self._runtime.mailbox_of(pid)
        if mailbox is None:
            raise self._not_alive(pid)
        function = method if callable(method) else getattr(mailbox.process, method, None)
        name = getattr(method, "__name__", None) or str(method)
        if not callable(function):
            raise InvalidMethod(f"Unknown method {name} on {pid}: {mailbox.process!r} has none")
        return Dispatch(mailbox, name, function, args)

    def _start_timer(self, timer: Timer, amount: float) -> None:
        if not self._runtime.is_stopping:
            timer.start(self._runtime.run_queue.loop, amount)

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
        if self._runtime.mailbox_of(pid) is None:
            raise self._not_alive(pid)
        self._ask(self._runtime.link, pid, to, reconnect)

    def disconnect(self, pid: PID) -> None:
        """Cut the connection to the address of a pid; linkers of all pids there see an exit."""
        check_pid(pid)
        self._call(self._disconnect, pid)

    def _disconnect(self, pid: PID) -> None:
        peer = self._runtime.peers.get(pid.address)
        if peer is not None:
            peer.disconnect()

    def __str__(self) -> str:
        return f"Context({self.ip}:{self.port})"

    def __repr__(self) -> str:
        return f"<{self}>"


def _is_live(process: Process) -> bool:
    if not process.is_bound:
        return False
    mailbox = process.context._runtime.mailbox_of(process.pid)
    return mailbox is not None and mailbox.process is process
