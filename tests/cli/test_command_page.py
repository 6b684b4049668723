"""docs/command.md: every example runs, prints what it says, and every command has one.

A line of a ```console block that begins with ``$ `` is run, and what stands below it is printed;
``...`` in that stands for anything.
"""

from __future__ import annotations

import re
import shlex
import threading
from pathlib import Path

import pytest

from compactor import Context, Process, Stop, answer, install
from compactor.cli.doctor import surroundings
from compactor.cli.doctor.finding import ok
from compactor.cli.exits import Exit
from compactor.cli.group import _COMMANDS
from tests.cli.running import command

PAGE = (Path(__file__).parents[2] / "docs" / "command.md").read_text("utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```$", PAGE, re.M | re.S)
PLACE = "192.0.2.7:5050"

LINE = re.compile(
    r"(?:echo -n (?P<input>\S+) \| )?(?P<env>(?:[A-Z_]+=\S+ )*)compactor (?P<args>.*)"
)


class Clock(Process):
    def __init__(self) -> None:
        super().__init__("clock")
        self.time = b"12:01"

    @install("set")
    def set(self, from_pid, body):
        self.time = body

    @answer("time")
    def tell(self, from_pid, body):
        """The time."""
        return self.time


class Worker(Process):
    def work(self):
        raise ValueError("no such job")


@pytest.fixture
def place(context: Context) -> str:
    """A context with what the page is about."""
    context.spawn(Clock())
    return f"{context.ip}:{context.port}"


def matches(printed: str, shown: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in shown.split("..."))
    return re.fullmatch(pattern, printed, re.S) is not None


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0][2:40])
def test_an_example_prints_what_the_page_says(block, context, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "time.txt").write_text("12:01")
    (tmp_path / "certs").mkdir()
    monkeypatch.delenv("LIBPROCESS_IP")
    if "compactor doctor" in block:
        monkeypatch.setattr(surroundings, "check_speed", lambda: [ok("speed", "compiled")])
        monkeypatch.setattr(surroundings, "check_descriptors", lambda: [ok("descriptors", "many")])
    if "worker@" in block:
        worker = Worker("worker")
        context.spawn(worker, on_failure=Stop())
        threading.Timer(0.2, lambda: context.dispatch(worker.pid, "work")).start()
    if "--ca certs/ca.pem" in block:
        command("certs", "certs")
    status = 0
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        line, _, shown = part.partition("\n")
        if line == "echo $?":
            assert shown == f"{status}\n"
            continue
        match = LINE.fullmatch(line)
        assert match, f"what is {line!r}?"
        args = [arg.replace(PLACE, place) for arg in shlex.split(match["args"])]
        env = dict(pair.split("=") for pair in match["env"].split())
        done = command(*args, input=match["input"], env=env)
        status = done.exit_code
        printed = done.output.replace(place, PLACE)
        # What ends no line on the page ends one in a shell as well, by its prompt.
        assert matches(printed, shown) or matches(printed + "\n", shown), printed


def test_every_command_has_an_example():
    hidden = {"bench-part", "demo-leader", "demo-follower"}
    elsewhere = {"bench", "demo", "serve", "top"}  # tests of their own run them
    assert elsewhere <= set(re.findall(r"`compactor (\w+)[^`]*` ", PAGE))
    shown = {match["args"].split()[0] for line in LINES if (match := LINE.fullmatch(line))}
    assert shown == set(_COMMANDS) - hidden - elsewhere
    table = PAGE.partition("| command |")[2].partition("\n\n")[0]
    assert set(re.findall(r"\[`(\w+)`\]", table)) == set(_COMMANDS) - hidden


LINES = re.findall(r"^\$ (.*)$", "".join(BLOCKS), re.M)


def test_every_exit_code_is_in_the_table():
    table = PAGE.partition("| code | means |")[2].partition("\n\n")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.M)] == [*map(int, Exit)]
