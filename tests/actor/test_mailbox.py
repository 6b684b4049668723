"""Mailbox and RunQueue by themselves: order, turns, suspension, ends, bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compactor.actor.backlog import Backlog
from compactor.actor.entries import LARGE, unhandled
from compactor.actor.mailbox import Mailbox
from compactor.actor.run_queue import RunQueue
from compactor.actor.slices import Slices
from compactor.errors import Reason
from compactor.pid import PID
from compactor.runtime import hot_path

SENDER = PID("127.0.0.1", 1, "sender")
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class Owner:
    """Records what a mailbox reports."""

    low_water = 2
    backlog = Backlog(4 * LARGE, 16 * LARGE)
    slices = Slices(RunQueue())
    slices.close()
    parents = ()

    def bind(self, process: Subject, name: str) -> Any:
        return getattr(process, name, None)

    def __init__(self) -> None:
        self.failed: list[BaseException] = []
        self.dropped: list[tuple[PID, str | None, int, Reason]] = []
        self.ended: list[Mailbox] = []

    def handler_failed(self, mailbox: Mailbox, entry: Any, error: BaseException) -> None:
        self.failed.append(error)

    async def end_family(self, mailbox: Mailbox) -> None:
        raise AssertionError("there are no children")

    def message_dropped(
        self, mailbox: Mailbox, sender: PID, name: str | None, size: int, reason: Reason
    ) -> None:
        self.dropped.append((sender, name, size, reason))

    def process_ended(self, mailbox: Mailbox, reason: Reason, error: BaseException | None) -> None:
        self.ended.append(mailbox)


class Subject:
    """A process as a mailbox sees one."""

    def __init__(self) -> None:
        self.served: list[Any] = []
        self.gate = asyncio.Event()

    def handle_message(self, name: str, sender: PID, body: bytes) -> None:
        raise AssertionError("nothing delegates messages here")

    def handle(self, sender: PID, body: bytes) -> None:
        self.served.append(body)

    def fail(self, sender: PID, body: bytes) -> None:
        raise LookupError(body)

    async def wait(self, sender: PID, body: bytes) -> None:
        self.served.append(b"<" + body)
        await self.gate.wait()
        self.served.append(body + b">")

    def finalize(self) -> None:
        self.served.append("finalized")


class Feeder:
    """Counts how often it is released."""

    def __init__(self) -> None:
        self.released = 0

    def release(self, reason: object) -> None:
        self.released += 1


class Room:
    """One mailbox with all that it needs, on a loop that runs when told to."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.owner = Owner()
        self.subject = Subject()
        self.run_queue = hot_path.chosen.RunQueue()
        self.run_queue.attach(loop)
        self.mailbox = self.make_mailbox(self.subject)

    def make_mailbox(self, subject: Subject) -> Mailbox:
        return hot_path.chosen.Mailbox(
            subject, PID("127.0.0.1", 1, "subject"), self.owner, self.run_queue
        )

    def run(self) -> None:
        """Let the loop do all that it can do now."""

        async def turns() -> None:
            for _ in range(50):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())


@pytest.fixture
def room(new_loop: LoopFactory) -> Iterator[Room]:
    """A mailbox, still closed."""
    loop = new_loop()
    yield Room(loop)
    loop.close()


def test_closed_mailbox_keeps_what_comes(room: Room) -> None:
    room.mailbox.put(room.subject.handle, SENDER, b"1")
    room.run()
    assert room.subject.served == []
    room.mailbox.open()
    room.run()

    assert room.subject.served == [b"1"]


def test_entries_are_served_in_order(room: Room) -> None:
    room.mailbox.open()
    for number in range(300):
        room.mailbox.put(room.subject.handle, SENDER, b"%d" % number)
    room.run()

    assert room.subject.served == [b"%d" % n for n in range(300)]


def test_mailboxes_take_turns(room: Room) -> None:
    order: list[str] = []
    mailboxes = [room.make_mailbox(Subject()) for _ in range(2)]
    for name, mailbox in zip("ab", mailboxes, strict=True):
        mailbox.open()
        for _ in range(500):
            mailbox.put(lambda _s, _b, name=name: order.append(name), SENDER, b"")
    room.run()

    assert len(order) == 1000
    assert order.index("b") < 500, "the second mailbox waited for all of the first"


def test_nothing_is_served_while_a_coroutine_is_awaited(room: Room) -> None:
    room.mailbox.open()
    room.mailbox.put(room.subject.wait, SENDER, b"1")
    room.mailbox.put(room.subject.handle, SENDER, b"2")
    room.run()
    assert room.subject.served == [b"<1"]
    room.subject.gate.set()
    room.run()

    assert room.subject.served == [b"<1", b"1>", b"2"]


def test_failure_is_reported_and_the_next_entry_served(room: Room) -> None:
    room.mailbox.open()
    room.mailbox.put(room.subject.fail, SENDER, b"1")
    room.mailbox.put(room.subject.handle, SENDER, b"2")
    room.run()

    assert [type(error) for error in room.owner.failed] == [LookupError]
    assert room.subject.served == [b"2"]


def test_end_discards_what_is_queued_and_what_comes_later(room: Room) -> None:
    handle = room.mailbox.call_for("handle")
    assert handle is not None
    room.mailbox.open()
    room.mailbox.put(handle, SENDER, b"1")
    room.mailbox.terminate(inject=True)
    room.mailbox.put(handle, SENDER, b"22")
    room.run()
    room.mailbox.put(handle, SENDER, b"333")

    assert room.subject.served == ["finalized"]
    assert room.owner.dropped == [(SENDER, "handle", n, Reason.TERMINATED) for n in (1, 2, 3)]
    assert room.owner.ended == [room.mailbox]


def test_end_without_inject_comes_last(room: Room) -> None:
    room.mailbox.open()
    room.mailbox.put(room.subject.handle, SENDER, b"1")
    room.mailbox.terminate(inject=False)
    room.mailbox.terminate(inject=False)
    room.run()

    assert room.subject.served == [b"1", "finalized"]
    assert room.owner.ended == [room.mailbox]


@pytest.mark.parametrize("is_awaited", [False, True])
def test_an_idle_mailbox_ends_before_what_comes_later(room: Room, is_awaited: bool) -> None:
    async def finalize() -> None:
        await asyncio.sleep(0)
        room.subject.served.append("finalized")

    if is_awaited:
        room.subject.finalize = finalize  # type: ignore[assignment, method-assign]
    room.mailbox.open()
    room.mailbox.terminate(inject=True)
    room.mailbox.put(room.subject.handle, SENDER, b"late")
    room.mailbox.terminate(inject=True)
    room.mailbox.terminate(inject=False)
    assert room.subject.served == []
    room.run()

    assert room.subject.served == ["finalized"]
    assert room.owner.dropped == [(SENDER, None, 4, Reason.TERMINATED)]
    assert room.owner.ended == [room.mailbox]


def test_an_idle_mailbox_that_is_to_end_can_be_abandoned(room: Room) -> None:
    room.mailbox.open()
    room.mailbox.terminate(inject=True)
    room.mailbox.abandon(Reason.STOPPED)
    room.run()

    assert room.subject.served == []
    assert room.owner.ended == [room.mailbox]


def test_abandoned_mailbox_ends_without_finalize(room: Room) -> None:
    room.mailbox.put(room.subject.handle, SENDER, b"1")
    room.mailbox.abandon(Reason.STOPPED)
    room.run()

    assert room.subject.served == []
    assert room.owner.dropped == [(SENDER, None, 1, Reason.STOPPED)]
    assert room.owner.ended == [room.mailbox]


def test_large_bodies_are_accounted_for_until_they_are_served(room: Room) -> None:
    body = b"x" * (LARGE + 1)
    room.mailbox.put_message(room.subject.handle, SENDER, body)
    room.mailbox.put_message(room.subject.handle, SENDER, body)
    assert room.mailbox.large_bytes == 2 * len(body)
    room.mailbox.open()
    room.run()

    assert room.mailbox.large_bytes == 0
    assert room.subject.served == [body, body]


def test_dropped_large_bodies_are_not_accounted_for_any_more(room: Room) -> None:
    body = b"x" * (LARGE + 1)
    room.mailbox.open()
    room.mailbox.put_message(unhandled(room.mailbox.process, "odd"), SENDER, body)
    room.mailbox.terminate(inject=True)
    room.run()

    assert room.mailbox.large_bytes == 0
    assert room.owner.dropped == [(SENDER, "odd", len(body), Reason.TERMINATED)]


@pytest.mark.parametrize("end", [False, True], ids=["served", "terminated"])
def test_stopped_feeders_are_released_once_the_mailbox_is_low(room: Room, end: bool) -> None:
    feeder = Feeder()
    room.mailbox.feeders = {feeder: None}
    for number in range(5):
        room.mailbox.put(room.subject.handle, SENDER, b"%d" % number)
    assert feeder.released == 0
    room.mailbox.open()
    if end:
        room.mailbox.terminate(inject=True)
    room.run()

    assert feeder.released == 1


@pytest.mark.parametrize("known", ["handle", "unknown"])
def test_call_of_a_name_is_looked_up_once(room: Room, known: str) -> None:
    call = room.mailbox.call_for(known)

    assert (call is None) == (known == "unknown")
    assert room.mailbox.call_for(known) is call


def test_what_was_put_before_the_loop_ran_is_served(new_loop: LoopFactory) -> None:
    loop = new_loop()
    room = Room.__new__(Room)
    room.owner, room.subject, room.run_queue, room.loop = (
        Owner(),
        Subject(),
        hot_path.chosen.RunQueue(),
        loop,
    )
    mailbox = room.make_mailbox(room.subject)
    mailbox.open()
    mailbox.put(room.subject.handle, SENDER, b"1")
    room.run_queue.attach(loop)
    room.run()
    loop.close()

    assert room.subject.served == [b"1"]
