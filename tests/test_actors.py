"""Processes and contexts within one OS process: spawning, mailboxes, dispatch, ends, threads."""

from __future__ import annotations

import asyncio
import functools
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Reason, Settings
from compactor.errors import ContextStopped, ProcessTerminated, SettingsError, SocketError
from compactor.testing import EphemeralContextTestCase, ephemeral_context
from tests.recorder import SECONDS, Recorder

MakeContext = Callable[..., Context]


class Base(Process):
    def __init__(self, name: str = "p") -> None:
        super().__init__(name)
        self.seen: queue.Queue[Any] = queue.Queue()

    @Process.install("base")
    def base(self, from_pid: PID, body: bytes) -> None:
        self.seen.put("base")

    @Process.install("one")
    @Process.install("two")
    def several(self, from_pid: PID, body: bytes) -> None:
        self.seen.put("several")


class Mixin:
    @Process.install("mixed")
    def mixed(self, from_pid: PID, body: bytes) -> None:
        self.seen.put("mixed")  # type: ignore[attr-defined]


class Derived(Mixin, Base):
    several = functools.partialmethod(Base.several)  # type: ignore[assignment]

    def base(self, from_pid: PID, body: bytes) -> None:
        self.seen.put("override")


def test_inherited_mixed_in_and_overridden_handlers_count(context: Context) -> None:
    process = Derived()
    context.spawn(process)
    for name in ("base", "mixed", "one", "two"):
        process.send(process.pid, name)
    assert [process.seen.get(timeout=SECONDS) for _ in range(2)] == ["override", "mixed"]


def test_initialize_runs_on_the_caller_s_thread_with_the_mailbox_closed(context: Context) -> None:
    order: list[Any] = []

    class Early(Recorder):
        def initialize(self) -> None:
            self.send(self.pid, "ping", b"early")
            context.dispatch(sentinel.pid, lambda: None).result(SECONDS)  # the loop is running
            order.append(threading.current_thread() is threading.main_thread())
            order.append(self.messages.empty())

    sentinel = Recorder("sentinel")
    context.spawn(sentinel)
    early = Early()
    context.spawn(early)
    assert early.next_message()[1] == b"early"
    assert order == [True, True]


def test_a_failing_initialize_leaves_nothing_behind(context: Context) -> None:
    class Broken(Process):
        def initialize(self) -> None:
            raise RuntimeError("no")

    broken = Broken("broken")
    with pytest.raises(RuntimeError, match="no"):
        context.spawn(broken)
    with pytest.raises(Process.UnboundProcess):
        _ = broken.pid
    context.spawn(Recorder("broken"))


def test_an_async_initialize_is_the_first_event(context: Context) -> None:
    class Slow(Recorder):
        ready = False

        async def initialize(self) -> None:
            await asyncio.sleep(0)
            self.ready = True

        @Process.install("ask")
        def ask(self, from_pid: PID, body: bytes) -> None:
            self.messages.put((from_pid, b"%d" % self.ready))

    slow = Slow()
    context.spawn(slow)
    slow.send(slow.pid, "ask")
    assert slow.next_message()[1] == b"1"


def test_a_live_id_is_refused_and_can_be_used_again_after_its_end(context: Context) -> None:
    first = Recorder("same")
    context.spawn(first)
    with pytest.raises(Context.InvalidProcess, match="same"):
        context.spawn(Recorder("same"))
    with pytest.raises(Context.InvalidProcess, match="already"):
        context.spawn(first)
    watcher = Recorder("watcher")
    context.spawn(watcher)
    watcher.link(first.pid)
    first.terminate()
    assert watcher.next_exit() == (first.pid, Reason.TERMINATED)
    second = Recorder("same")
    context.spawn(second)
    watcher.send(second.pid, "ping", b"new")
    assert second.next_message()[1] == b"new"


def test_a_shadowed_installed_method_is_still_called(make_context: MakeContext) -> None:
    class Shadow(Process):
        def __init__(self) -> None:
            super().__init__("shadow")
            self.called: queue.Queue[bytes] = queue.Queue()
            self.registered = threading.Event()  # type: ignore[assignment,method-assign]

        @Process.install("registered")
        def registered(self, from_pid: PID, body: bytes) -> None:
            self.called.put(body)

    shadow, local, remote = Shadow(), Recorder("local"), Recorder("remote")
    context = make_context()
    context.spawn(shadow)
    context.spawn(local)
    make_context().spawn(remote)
    local.send(shadow.pid, "registered", b"local")
    assert shadow.called.get(timeout=SECONDS) == b"local"
    remote.send(shadow.pid, "registered", b"remote")
    assert shadow.called.get(timeout=SECONDS) == b"remote"


def test_a_delegate_sees_the_original_sender(make_context: MakeContext) -> None:
    context = make_context()
    front, back, far, client = (Recorder(n) for n in ("front", "back", "far", "client"))
    for process in (front, back, client):
        context.spawn(process)
    make_context().spawn(far)

    class Bare(Process):
        pass

    bare = Bare("bare")
    context.spawn(bare)
    for to in (back, far):
        bare.delegate("ping", to.pid)
        client.send(bare.pid, "ping", b"x")
        assert to.next_message() == (client.pid, b"x")


def test_unknown_names_and_processes_become_dead_letters(context: Context) -> None:
    letters: queue.Queue[Any] = queue.Queue()
    context.on_dead_letter(letters.put)
    one = Recorder("one")
    context.spawn(one)
    one.send(one.pid, "unknown", b"abc")
    letter = letters.get(timeout=SECONDS)
    assert (letter.reason, letter.name, letter.size) == (Reason.NO_HANDLER, "unknown", 3)
    one.send(PID(context.ip, context.port, "nobody"), "ping")
    assert letters.get(timeout=SECONDS).reason is Reason.NO_PROCESS
    assert context.metrics.snapshot()["dead_letters"] == 2


def test_one_event_at_a_time_while_an_async_handler_awaits(context: Context) -> None:
    class Serial(Process):
        def __init__(self) -> None:
            super().__init__("serial")
            self.inside = 0
            self.most = 0
            self.order: list[bytes] = []

        @Process.install("work")
        async def work(self, from_pid: PID, body: bytes) -> None:
            self.inside += 1
            self.most = max(self.most, self.inside)
            await asyncio.sleep(0)
            self.order.append(body)
            self.inside -= 1

    serial = Serial()
    context.spawn(serial)
    for n in range(200):
        serial.send(serial.pid, "work", b"%d" % n)
    context.dispatch(serial.pid, lambda: None).result(SECONDS)
    assert serial.most == 1
    assert serial.order == [b"%d" % n for n in range(200)]


def test_terminate_cancels_an_awaiting_handler_and_finalizes_once(context: Context) -> None:
    events: queue.Queue[str] = queue.Queue()

    class Hanging(Process):
        @Process.install("hang")
        async def hang(self, from_pid: PID, body: bytes) -> None:
            events.put("begun")
            try:
                await asyncio.Event().wait()
            finally:
                events.put("cancelled")

        def finalize(self) -> None:
            events.put("finalized")

    hanging, watcher = Hanging("hanging"), Recorder("watcher")
    context.spawn(hanging)
    context.spawn(watcher)
    watcher.link(hanging.pid)
    watcher.send(hanging.pid, "hang")
    assert events.get(timeout=SECONDS) == "begun"
    pending = context.dispatch(hanging.pid, lambda: None)
    hanging.terminate()
    hanging.terminate()
    assert [events.get(timeout=SECONDS) for _ in range(2)] == ["cancelled", "finalized"]
    with pytest.raises(ProcessTerminated):
        pending.result(SECONDS)
    assert watcher.next_exit() == (hanging.pid, Reason.TERMINATED)
    assert events.empty()


def test_terminate_without_inject_serves_what_is_queued(context: Context) -> None:
    one = Recorder("one")
    context.spawn(one)

    def enqueue() -> None:
        for n in range(5):
            one.send(one.pid, "ping", b"%d" % n)
        one.terminate(inject=False)

    context.dispatch(one.pid, enqueue)
    assert [one.next_message()[1] for _ in range(5)] == [b"%d" % n for n in range(5)]


def test_dispatch_returns_results_and_errors_to_threads_and_coroutines(context: Context) -> None:
    class Adder(Process):
        def add(self, a: int, b: int) -> int:
            return a + b

        async def slow_add(self, a: int, b: int) -> int:
            await asyncio.sleep(0)
            return a + b

        def fail(self) -> None:
            raise KeyError("on purpose")

        async def ask(self, other: PID) -> int:
            return await self.context.dispatch(other, "add", 3, 4)

    one, two = Adder("one"), Adder("two")
    context.spawn(one)
    context.spawn(two)
    assert context.dispatch(one.pid, "add", 1, 2).result(SECONDS) == 3
    assert context.dispatch(one.pid, "slow_add", 1, 2).result(SECONDS) == 3
    assert context.dispatch(one.pid, "ask", two.pid).result(SECONDS) == 7
    with pytest.raises(KeyError, match="on purpose"):
        context.dispatch(one.pid, "fail").result(SECONDS)
    assert context.metrics.handler_failures == 1
    with pytest.raises(Context.InvalidMethod, match="nothing"):
        context.dispatch(one.pid, "nothing")
    with pytest.raises(Context.InvalidProcess):
        context.dispatch(PID(context.ip, context.port, "x"), "add")


def test_delay_wakes_an_idle_loop_and_can_be_cancelled(context: Context) -> None:
    one = Recorder("one")
    context.spawn(one)
    fired: queue.Queue[int] = queue.Queue()
    cancelled = context.delay(0.01, one.pid, lambda: fired.put(1))
    assert cancelled.cancel()
    assert not cancelled.cancel()
    context.delay(0.02, one.pid, lambda: fired.put(2))
    assert fired.get(timeout=SECONDS) == 2
    assert fired.empty()


def test_delay_does_not_fire_after_its_process_ended(context: Context) -> None:
    one, two = Recorder("one"), Recorder("two")
    context.spawn(one)
    context.spawn(two)
    fired: queue.Queue[str] = queue.Queue()
    context.delay(0.05, one.pid, lambda: fired.put("dead"))
    context.delay(0.06, two.pid, lambda: fired.put("alive"))
    one.terminate()
    assert fired.get(timeout=SECONDS) == "alive"


def test_local_links_to_dead_processes_and_oneself(context: Context) -> None:
    one = Recorder("one")
    context.spawn(one)
    nobody = PID(context.ip, context.port, "nobody")
    one.link(nobody)
    assert one.next_exit() == (nobody, Reason.NO_PROCESS)
    one.link(one.pid)
    one.terminate()


def test_exited_may_take_the_pid_alone(context: Context) -> None:
    class Plain(Process):
        exits: queue.Queue[PID] = queue.Queue()

        def exited(self, pid: PID) -> None:  # type: ignore[override]
            self.exits.put(pid)

    plain = Plain("plain")
    context.spawn(plain)
    nobody = PID(context.ip, context.port, "nobody")
    plain.link(nobody)
    assert plain.exits.get(timeout=SECONDS) == nobody


def test_threads_send_and_dispatch_while_they_hold_a_lock_that_handlers_take(
    context: Context,
) -> None:
    lock = threading.Lock()

    class Locking(Process):
        count = 0

        @Process.install("add")
        def add(self, from_pid: PID, body: bytes) -> None:
            with lock:
                self.count += 1

    locking = Locking("locking")
    context.spawn(locking)

    def work(worker: int) -> None:
        for n in range(500):
            with lock:
                locking.send(locking.pid, "add")
                if n % 100 == 0:
                    context.spawn(Recorder(f"{worker}-{n}"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    context.dispatch(locking.pid, lambda: None).result(SECONDS)
    assert locking.count == 4000


def test_stop_and_join_return_from_a_handler_and_can_be_repeated(
    make_context: MakeContext,
) -> None:
    context = make_context()
    one = Recorder("one")
    context.spawn(one)

    def stop() -> None:
        context.stop()
        context.join()

    context.dispatch(one.pid, stop)
    context.join(SECONDS)
    assert not context.is_alive()
    context.stop()
    context.join(SECONDS)
    with pytest.raises(ContextStopped, match="make a new one"):
        context.spawn(Recorder("late"))
    with pytest.raises(Context.InvalidProcess):
        one.send(one.pid, "ping")


def test_a_context_that_was_never_started_can_be_stopped() -> None:
    context = Context(ip="127.0.0.1")
    context.stop()
    context.join(SECONDS)
    assert not context.is_alive()


def test_a_context_lives_in_the_caller_s_loop(new_loop: Callable[[], Any]) -> None:
    async def main() -> bytes:
        async with Context(ip="127.0.0.1", port=0) as context, Context(ip="127.0.0.1") as other:
            here, there = Recorder("here"), Recorder("there")
            context.spawn(here)
            other.spawn(there)
            here.send(there.pid, "ping", b"hi")
            while there.messages.empty():
                await asyncio.sleep(0)
            return there.next_message()[1]

    loop = new_loop()
    try:
        assert loop.run_until_complete(main()) == b"hi"
    finally:
        loop.close()


def test_context_pid_is_that_of_the_only_process(context: Context) -> None:
    with pytest.raises(Context.Error, match="none"):
        _ = context.pid
    one = Recorder("one")
    context.spawn(one)
    assert context.pid == one.pid
    context.spawn(Recorder("two"))
    with pytest.raises(Context.Error, match="has 2"):
        _ = context.pid


@pytest.mark.parametrize("name", ["a b", "a\0", "a\r\n", "a@b", "\t"])
def test_names_that_cannot_stand_in_a_pid_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="process id"):
        Process(name)


def test_bad_arguments_are_named(context: Context) -> None:
    one = Recorder("one")
    with pytest.raises(Process.UnboundProcess):
        one.send(PID("127.0.0.1", 1, "x"), "ping")
    context.spawn(one)
    with pytest.raises(TypeError, match="expected a PID"):
        one.send(None, "ping")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Body must be a sequence of bytes"):
        one.send(one.pid, "ping", "text")
    with pytest.raises(ValueError, match="message name"):
        one.send(one.pid, "a b")
    with pytest.raises(TypeError, match="only a Process"):
        context.spawn(object())  # type: ignore[arg-type]
    with pytest.raises(Context.InvalidProcess, match="does not live"):
        context.terminate(PID("127.0.0.1", 1, "x"))


def test_a_port_in_use_is_an_error_that_names_it(context: Context) -> None:
    with pytest.raises(SocketError, match=f"{context.port}.*LIBPROCESS_PORT"):
        Context(ip="127.0.0.1", port=context.port)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LIBPROCESS_IP", "nonsense"),
        ("LIBPROCESS_IP", ""),
        ("LIBPROCESS_PORT", "99999"),
        ("LIBPROCESS_PORT", "5o50"),
        ("LIBPROCESS_ADVERTISE_IP", "0.0.0.0"),
        ("LIBPROCESS_ADVERTISE_PORT", "0"),
    ],
)
def test_bad_variables_are_named_with_value_and_rule(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"{variable}='{value}' must be"):
        Context()


def test_the_environment_advertises_and_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_IP", "192.0.2.9")
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_PORT", "1234")
    monkeypatch.setenv("LIBPROCESS_PORT", "1")
    with ephemeral_context(port=0, advertise_port=4321) as context:
        assert (context.ip, context.port) == ("192.0.2.9", 4321)


def test_settings_that_differ_from_the_defaults_beat_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_PORT", "1234")
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_IP", "192.0.2.9")
    with ephemeral_context(settings=Settings(advertise_port=4321)) as context:
        assert (context.ip, context.port) == ("192.0.2.9", 4321)


def test_a_failed_spawn_does_not_unlink_who_takes_its_name_next(context: Context) -> None:
    class Broken(Process):
        def initialize(self) -> None:
            raise RuntimeError("no")

    watched = Recorder("watched")
    context.spawn(watched)
    heir = Recorder("name")

    def on_loop() -> None:
        context.spawn(heir)
        heir.link(watched.pid)

    class Blocking(Process):
        entered = threading.Event()
        go = threading.Event()

        def block(self) -> None:
            self.entered.set()
            self.go.wait(SECONDS)
            self.entered.clear()
            self.go.clear()
            on_loop()

    blocking = Blocking("blocking")
    context.spawn(blocking)
    blocked = context.dispatch(blocking.pid, "block")
    assert blocking.entered.wait(SECONDS)
    with pytest.raises(RuntimeError, match="no"):
        context.spawn(Broken("name"))  # what it leaves to do waits behind ``block``
    blocking.go.set()
    blocked.result(SECONDS)
    heir.settle()
    watched.terminate()
    assert heir.next_exit() == (watched.pid, Reason.TERMINATED)


def test_all_interfaces_advertise_an_address_that_can_be_dialled() -> None:
    with ephemeral_context(ip="0.0.0.0") as context:
        assert context.ip != "0.0.0.0"
        socket.create_connection((context.ip, context.port), timeout=SECONDS).close()


def test_a_keyboard_interrupt_raised_on_a_context_s_thread_is_a_failure_like_others(
    context: Context,
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    one = Recorder("one")
    context.spawn(one)
    with pytest.raises(KeyboardInterrupt):
        context.dispatch(one.pid, interrupt).result(SECONDS)
    one.send(one.pid, "ping", b"alive")
    assert one.next_message()[1] == b"alive"
    assert context.metrics.handler_failures == 1


def test_control_c_in_a_handler_ends_a_context_that_runs_on_the_main_thread() -> None:
    program = (
        "import asyncio\n"
        "from compactor import Context, Process\n"
        "class Interrupted(Process):\n"
        "    @Process.install('x')\n"
        "    def x(self, from_pid, body): raise KeyboardInterrupt\n"
        "loop = asyncio.new_event_loop()\n"
        "context = Context(ip='127.0.0.1', loop=loop)\n"
        "process = Interrupted('p')\n"
        "loop.call_soon(lambda: (context.spawn(process), process.send(process.pid, 'x')))\n"
        "try: context.run()\n"
        "except KeyboardInterrupt: print(context.is_alive(), context.is_stopping)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.stdout.split() == ["False", "True"]


def test_the_mailbox_of_a_process_is_bounded(make_context: MakeContext) -> None:
    context = make_context(settings=Settings(max_mailbox_events=100))
    one, two = Recorder("one"), Recorder("two")
    context.spawn(one)
    context.spawn(two)

    def flood() -> None:
        for _ in range(150):
            two.send(one.pid, "ping")

    context.dispatch(two.pid, flood).result(SECONDS)
    one.settle()
    assert one.messages.qsize() == 100
    assert context.metrics.dead_letters[Reason.OVERFLOW] == 50


def test_what_a_program_sends_before_it_exits_still_leaves(context: Context) -> None:
    one = Recorder("one")
    context.spawn(one)
    program = (
        "from compactor import *\n"
        "client = Process('client'); spawn(client)\n"
        f"client.send(PID.from_string({str(one.pid)!r}), 'ping', b'last words')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=SECONDS)
    assert one.next_message()[1] == b"last words"


def test_an_ephemeral_context_ends_even_when_its_block_raises() -> None:
    with pytest.raises(ZeroDivisionError), ephemeral_context() as context:
        1 / 0  # noqa: B018
    assert not context.is_alive()


class TestEphemeral(EphemeralContextTestCase):
    def test_its_context_runs(self) -> None:
        assert self.context.is_alive()
