"""The trace of a run: what it says, exactly, and its digest."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from compactor import PID
from compactor.testing import Trace, TraceEvent
from compactor.testing.trace import KINDS


def story(keep: int | None = None) -> Trace:
    trace = Trace(keep)
    trace.add(0, "a", "send", "leader@a", "follower@b", "register", "3 bytes")
    trace.add(0.25, "b", "deliver", "leader@a", "follower@b", "register", "3 bytes")
    trace.add(0.5, "b", "timer", to="follower@b", name="tick")
    trace.add(0.75, "b", "send", "follower@b", "leader@a", "pong")
    trace.add(1, "a", "fault", "a", "b", "partition", "both ways")
    trace.add(1.5, "b", "drop", "follower@b", "leader@a", "pong", "partition")
    trace.add(2, "a", "send", "leader@a", "third@c", "hello")
    trace.add(3, "c", "exit", "leader@a", "third@c", detail="unreachable")
    trace.add(4, "a", "link", "a", "b", "closed")
    return trace


DIGEST = "8b2caa5cdd6aa4c9f6d7256aa2980e9d"

LINES = """\
    0.000000  a  send     leader@a -> follower@b  register  3 bytes
    0.250000  b  deliver  leader@a -> follower@b  register  3 bytes
    0.500000  b  timer    follower@b  tick
    0.750000  b  send     follower@b -> leader@a  pong
    1.000000  a  fault    a -> b  partition  both ways
    1.500000  b  drop     follower@b -> leader@a  pong  partition
    2.000000  a  send     leader@a -> third@c  hello
    3.000000  c  exit     leader@a -> third@c  unreachable
    4.000000  a  link     a -> b  closed
"""

DIAGRAM = """\
              leader@a              follower@b      third@c
    0.250000  |------ register ---->|               |
    0.500000  |                     |* timer tick   |
    1.000000  == fault: partition a b both ways ==
    1.500000  |x- pong (partition) -|               |
    2.000000  |--------- hello (on its way) -------?|
    3.000000  |-------- exited (unreachable) ------>|
    4.000000  == link: closed a b ==
"""

MERMAID = """\
sequenceDiagram
    participant p0 as leader@a
    participant p1 as follower@b
    participant p2 as third@c
    p0->>p1: 0.250000 register
    p1->>p1: 0.500000 timer tick
    Note over p0,p2: 1.000000 fault: partition a b both ways
    p1-xp0: 1.500000 pong (partition)
    p0-)p2: 2.000000 hello (on its way)
    p0->>p2: 3.000000 exited (unreachable)
    Note over p0,p2: 4.000000 link: closed a b
"""


def test_lines() -> None:
    assert "".join(f"{line}\n" for line in story().lines()) == LINES
    assert story().lines(1) == LINES.splitlines()[-1:]
    assert story().lines(0) == []


def test_events() -> None:
    trace = story()
    assert list(trace)[2] == TraceEvent(0.5, "b", "timer", "", "follower@b", "tick", "")
    assert trace.last(2)[0].kind == "exit"
    assert {event.kind for event in trace} == KINDS
    assert (len(trace), trace.count) == (9, 9)
    assert repr(trace) == f"<Trace of 9 events, {DIGEST}>"


def test_json() -> None:
    text = story().json()
    assert text.splitlines()[3] == (
        '{"seconds": 0.5, "host": "b", "kind": "timer", "from": "", "to": "follower@b", '
        '"name": "tick", "detail": ""},'
    )
    events = json.loads(text)
    assert len(events) == 9
    assert events[0]["from"] == "leader@a"
    assert json.loads(story().json(2)) == events[-2:]
    assert json.loads(Trace().json()) == []


def test_diagram() -> None:
    assert story().diagram() == DIAGRAM
    assert Trace().diagram() == ""


def test_diagram_for_mermaid() -> None:
    assert story().mermaid() == MERMAID
    assert Trace().mermaid() == "sequenceDiagram\n"


def test_diagram_with_arrows_to_the_left_and_across() -> None:
    trace = Trace()
    trace.add(1, "c", "deliver", "a", "b", "one")
    trace.add(2, "c", "deliver", "b", "c", "two")
    trace.add(3, "a", "deliver", "c", "a", "back")
    trace.add(4, "a", "drop", "a", "a", "self", "full")
    trace.add(5, "a", "drop", "a", "c", "lost")
    assert (
        trace.diagram()
        == """\
              a                b        c
    1.000000  |----- one ----->|        |
    2.000000  |                |- two ->|
    3.000000  |<--------- back ---------|
    4.000000  |x self (full)   |        |
    5.000000  |---------- lost --------x|
"""
    )


def test_notes_alone() -> None:
    trace = Trace()
    trace.add(1, "a", "fault", name="crash")
    assert trace.diagram() == "    1.000000  == fault: crash a ==\n"
    assert trace.mermaid() == "sequenceDiagram\n    %% 1.000000 fault: crash a\n"
    trace.add(2, "a", "timer", name="tick")
    assert trace.mermaid().splitlines()[1:] == [
        "    participant p0 as a",
        "    Note over p0: 1.000000 fault: crash a",
        "    p0->>p0: 2.000000 timer tick",
    ]


def test_each_message_is_drawn_once_in_the_order_of_sending() -> None:
    trace = Trace()
    for seconds in (0, 1, 2):
        trace.add(seconds, "a", "send", "a", "b", "same")
    trace.add(3, "b", "deliver", "a", "b", "same")
    trace.add(4, "b", "drop", "a", "b", "same", "overflow")
    drawn = [line.split()[0] for line in trace.diagram().splitlines()[1:]]
    assert drawn == ["2.000000", "3.000000", "4.000000"]


def test_odd_texts_stay_on_their_line_and_in_their_place() -> None:
    trace = Trace()
    trace.add(0, "a", "deliver", "x\ny", "b;#%", "n\u202eme\x00" + "long" * 1000, "d\r")
    assert len(trace.lines()) == len("\n".join(trace.lines()).splitlines()) == 1
    assert "x\\ny -> b;#%  n\\u202eme\\x00longlong" in trace.lines()[0]
    assert len(trace.lines()[0]) < 700
    head, arrow = trace.diagram().splitlines()
    assert head.split() == ["x\\ny", "b;#%"]
    assert len(arrow) < 100
    assert trace.mermaid().splitlines()[2] == "    participant p1 as b#59;#35;#37;"


def test_report() -> None:
    last = "".join(LINES.splitlines(keepends=True)[-2:])
    assert story().report(2, "pytest test_it.py --simulation-seed 7") == (
        f"The last 2 of 9 events (digest {DIGEST}):\n{last}"
        "Replay: pytest test_it.py --simulation-seed 7\n"
    )
    assert story().report(2) == f"The last 2 of 9 events (digest {DIGEST}):\n{last}"
    assert Trace().report() == "No events.\n"


def test_few_events_may_be_remembered_and_the_digest_is_that_of_all() -> None:
    trace = story(keep=2)
    assert len(trace) == 2
    assert trace.count == 9
    assert trace.digest == DIGEST
    assert [event.kind for event in trace] == ["exit", "link"]
    assert trace.report(5).startswith("The last 2 of 9 events")


def test_digest_is_the_same_whatever_is_asked_meanwhile() -> None:
    one, other = Trace(), Trace(keep=1)
    for at in range(2000):
        one.add(at / 7, "a", "send", "x", "y", f"n{at}")
        other.add(at / 7, "a", "send", "x", "y", f"n{at}")
        if at % 3 == 0:
            assert len(other.digest) == 32
    assert one.digest == other.digest


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_digest_is_the_same_in_every_program(hash_seed: str) -> None:
    program = "from tests.testing.test_trace import story; print(story().digest)"
    environ = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == DIGEST


@pytest.mark.parametrize(
    "event",
    [
        (0, "a", "send", "x", "y", "n"),
        (0.0, "a", "send", "x", "y", "", "n"),
        (0.0, "a", "send", "xy", "", "n"),
        (0.1, "a", "send", "x", "y", "n", ""),
        (0.0, "a", "drop", "x", "y", "n"),
        (0.0, "a", "send", "x", "y", "n\n"),
        (0.0, "a', 'send", "send", "x", "y", "n"),
    ],
)
def test_whatever_differs_has_another_digest(event: tuple[object, ...]) -> None:
    digests = set()
    for values in ((0.0, "b", "send", "x", "y", "n"), event):
        trace = Trace()
        trace.add(*values)  # type: ignore[arg-type]
        digests.add(trace.digest)
    assert len({*digests, Trace().digest}) == 3


def test_digest_depends_on_the_order() -> None:
    digests = set()
    for names in (("a", "b"), ("b", "a")):
        trace = Trace()
        for name in names:
            trace.add(0, "h", "send", "x", "y", name)
        digests.add(trace.digest)
    assert len(digests) == 2


def test_pids_are_given_as_they_are() -> None:
    trace = Trace()
    trace.add(0, "a", "send", PID("127.0.0.1", 1, "x"), PID("127.0.0.1", 2, "y"), "n")
    assert trace.lines() == ["    0.000000  a  send     x@127.0.0.1:1 -> y@127.0.0.1:2  n"]


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_bad_times(seconds: float) -> None:
    with pytest.raises(ValueError, match="finite number of seconds"):
        Trace().add(seconds, "a", "send")


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"one of deliver, drop, exit, .*, got 'sent'"):
        Trace().add(0, "a", "sent")
    with pytest.raises(ValueError, match="at least 1 event, got 0"):
        Trace(0)
    with pytest.raises(TypeError, match="a number of events, or None, got 'all'"):
        Trace("all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 0, got -1"):
        story().last(-1)


def test_texts_that_have_the_marks_of_the_digest_are_not_taken_for_others() -> None:
    def digest(*events: tuple[str, str]) -> str:
        trace = Trace()
        for sender, to in events:
            trace.add(1.0, "a", "send", sender, to)
        return trace.digest

    marked = [("b\x1fc", ""), ("b", "c\x1f"), ("b", "c"), ("b\x1e", "c"), ("'b'", "c")]
    assert len({digest(event) for event in marked}) == len(marked)
    assert digest(("a", "b"), ("c", "d")) != digest(("a", "b\x1e\x1fc"), ("", "d"))
