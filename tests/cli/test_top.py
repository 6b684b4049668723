"""``compactor top``: its screen, driven by keys, and on a terminal of the system."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys

import pytest

from compactor.cli.access import Access
from compactor.cli.http_client import HttpClient
from compactor.cli.snapshot import look
from compactor.cli.targets import parse_target
from tests.actors import Patience
from tests.cli.running import fails
from tests.cli.servers import reply, serving, telling
from tests.ports import own_port

pytest.importorskip("textual", reason="top is drawn with textual")
pty = pytest.importorskip("pty", reason="Windows has no terminals of this kind")

PROCESSES = [
    {"id": "idle", "events": []},
    {"id": "busy", "events": [{"type": "DISPATCH"}] * 3},
    {"id": "failing", "events": [{"type": "DISPATCH"}]},
]


@pytest.fixture
def host():
    handled = itertools.count(100, 50)

    def numbers(head):
        told = {
            "processes/idle/events_handled": 10_000,
            "processes/busy/events_handled": next(handled),
            "processes/failing/handler_failures": 4,
            "messages_in": 7,
            "handler_ms/p99": 12.5,
            "loop_lag_ms/p99": 0.75,
            "parked_bytes": 4096,
        }
        return reply("200 OK", json.dumps(told).encode())

    with serving(telling({"/__processes__": PROCESSES, "/metrics/snapshot": numbers})) as host:
        yield host


def screen_of(host):
    from compactor.cli.top.screen import Top

    client, target = HttpClient(Access(timeout=2.0)), parse_target(host)
    return Top(client, target, 3600.0, look(client, target))


def ids(app):
    return [row.id for row in app.shown()]


def test_keys_are_those_of_htop(host):
    async def press():
        app = screen_of(host)
        async with app.run_test() as pilot:
            assert ids(app) == ["busy", "failing", "idle"]  # by what waits
            await pilot.press("T")
            assert ids(app)[0] == "idle"  # by what was handled in all
            await pilot.press("I")
            assert ids(app)[-1] == "idle"
            await pilot.press("I", "N")
            assert ids(app) == ["busy", "failing", "idle"]
            await pilot.press("f6", "f6", "less_than_sign", "less_than_sign", "less_than_sign")
            assert app.sorted_by == "p99"
            await pilot.press("P", "f5")
            await app.workers.wait_for_complete()
            assert ids(app)[0] == "busy"
            assert next(app.shown().__iter__()).rate > 0
            await pilot.press("slash", *"ail", "enter")
            assert ids(app) == ["failing"]
            await pilot.press("escape")
            assert len(ids(app)) == 3
            await pilot.press("f1")
            assert app.query_one("#keys").display
            await pilot.press("Z")
            assert "stands still" in str(app.summary())
            await pilot.press("q")
        assert not app.is_running

    asyncio.run(press())


def test_the_summary_has_lag_latency_and_what_is_parked(host):
    app = screen_of(host)
    told = str(app.summary())
    assert told.startswith(f"{host}  3 processes, 4 events wait  sorted by WAITING")
    assert "handler p99 12.5 ms  loop lag p99 0.75 ms  parked 4,096 bytes" in told


def test_a_context_that_dies_is_told_and_what_was_known_stays():
    async def press():
        with contextlib.ExitStack() as opened:
            host = opened.enter_context(serving(telling({"/__processes__": PROCESSES})))
            app = screen_of(host)
            opened.close()
        async with app.run_test() as pilot:
            await pilot.press("f5")
            await app.workers.wait_for_complete()
            assert "nobody listens at " in str(app.summary())
            assert len(ids(app)) == 3

    asyncio.run(press())


def test_ids_are_shown_as_they_are():
    """Those that textual would read as marks, or a terminal as orders."""
    evil = [{"id": "[red]x[/red]", "events": []}, {"id": "\x1b[2J", "events": []}]

    async def look_at():
        with serving(telling({"/__processes__": evil})) as host:
            app = screen_of(host)
            async with app.run_test():
                from textual.widgets import DataTable

                table = app.query_one(DataTable)
                shown = {str(table.get_row_at(n)[0]) for n in range(table.row_count)}
        assert shown == {"[red]x[/red]", r"\x1b[2J"}

    asyncio.run(look_at())


def test_a_dead_address_is_told_in_a_line_and_pipes_are_no_terminals():
    dead = f"127.0.0.1:{own_port()}"
    assert "top needs a terminal" in fails(2, "top", dead)


@contextlib.contextmanager
def on_a_terminal(*args):
    """The command, and the terminal that it runs on."""
    main, side = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""}
    del environ["COLUMNS"], environ["LINES"]
    program = subprocess.Popen(
        [sys.executable, "-m", "compactor.cli", *args],
        stdin=side,
        stdout=side,
        stderr=side,
        env=environ,
        start_new_session=True,
    )
    os.close(side)
    try:
        yield main, program
    finally:
        program.kill()
        program.wait()
        os.close(main)


def read_until(main, text):
    """What is printed, up to a text, or to the end."""
    import select

    shown, patience = b"", Patience(30.0)
    while text is None or text not in shown:
        assert not patience.is_over, shown[-2000:]
        if select.select([main], [], [], patience.step)[0]:
            try:
                shown += os.read(main, 65536)
            except OSError:  # nobody has the other side any more
                break
    return shown


def resize(main, program, rows, columns):
    import fcntl
    import struct
    import termios

    fcntl.ioctl(main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    os.kill(program.pid, signal.SIGWINCH)


def test_a_terminal_may_be_resized_and_is_left_as_it_was(host):
    with on_a_terminal("top", host, "--interval", "0.2") as (main, program):
        resize(main, program, 24, 80)
        read_until(main, b"busy")
        for rows, columns in ((1, 1), (2, 500), (50, 132)):
            resize(main, program, rows, columns)
            read_until(main, b"\x1b[")
        read_until(main, b"failing")
        os.write(main, b"q")
        shown = read_until(main, None)
        assert program.wait(20) == 0
    assert b"\x1b[?1049l" in shown  # the other screen is left
    assert b"Traceback" not in shown


def test_whoever_ends_it_has_the_terminal_as_it_was(host):
    with on_a_terminal("top", host) as (main, program):
        resize(main, program, 24, 80)
        read_until(main, b"busy")
        program.send_signal(signal.SIGTERM)
        shown = read_until(main, None)
        assert program.wait(20) == 128 + signal.SIGTERM
    assert b"\x1b[?1049l" in shown


def test_on_a_terminal_a_dead_address_is_one_line():
    dead = f"127.0.0.1:{own_port()}"
    with on_a_terminal("top", dead) as (main, program):
        shown = read_until(main, None)
        assert program.wait(20) == 3
    assert shown.startswith(f"Error: nobody listens at {dead}: ".encode())
    assert b"\x1b[?1049h" not in shown


def test_without_textual_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.setitem(sys.modules, "textual.app", None)
    monkeypatch.delitem(sys.modules, "compactor.cli.top.screen", raising=False)
    monkeypatch.setattr("compactor.cli.commands.top.is_on_a_terminal", lambda: True)
    said = fails(1, "top", "127.0.0.1:1")
    assert said == "Error: top needs the package textual: pip install 'compactor[cli]'\n"
