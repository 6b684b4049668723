"""Workers: OS processes that are started, asked, replaced, and started anew when they end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from compactor import AskFailed, Context, Draining, Escalate, Restart, Stop
from compactor.pool import NoMember, Pool
from compactor.workers import Workers, WorkersFailed
from tests.actors import TIMEOUT
from tests.ports import own_port
from tests.workers import parts

PARTS = "tests.workers.parts"

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals are POSIX's")


def run(body: Callable[[Context], Awaitable[Any]]) -> None:
    async def main() -> None:
        async with Context(ip="127.0.0.1") as context:
            await asyncio.wait_for(body(context), 3 * TIMEOUT)

    asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def who(pool: Pool, count: int) -> dict[int, tuple[int, int]]:
    """The generation and OS process of each worker."""
    found = {}
    while len(found) < count:
        text = (await pool.ask("who", timeout=TIMEOUT)).decode()
        number, generation, os_pid = (int(part.split(" ")[0]) for part in text.split(", "))
        found[number] = (generation, os_pid)
    return found


def is_there(os_pid: int) -> bool:
    try:
        os.kill(os_pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def hears_of_hangups() -> Iterator[None]:
    """Also where the tests run under nohup, which has programs ignore them."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hears_of_hangups")
def test_workers_answer_are_replaced_and_end(caplog: pytest.LogCaptureFixture) -> None:
    async def body(context: Context) -> None:
        async with Workers(parts.make, count=2, context=context) as workers:
            pool = workers.pool("part", route="round_robin")
            first = await who(pool, 2)
            assert [generation for generation, _ in first.values()] == [0, 0]
            assert os.getpid() not in [os_pid for _, os_pid in first.values()]
            assert len({pid.port for pid in pool.members}) == 2

            # Logs, and what is known, in one place.
            await pool.ask("log", b"Vulcan", timeout=TIMEOUT)
            await until(lambda: "no planet" in caplog.text)
            (record,) = [each for each in caplog.records if each.name == "shop"]
            assert record.getMessage().endswith("] looked for Vulcan")
            assert record.processName in ("worker-0", "worker-1")
            await until(lambda: all(each["counts"] for each in workers.status()))
            url = f"http://{context.ip}:{context.port}/{workers._board.id}/status.json"
            shown = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(url).read()))
            assert {each["state"] for each in shown["workers"]} == {"ready"}
            assert shown["counts"]["processes"] >= 2
            assert workers.counts()["dead_letters"] == 0

            # All are replaced while they are asked, and no ask is lost.
            ends = False

            async def ask() -> int:
                done = 0
                while not ends:
                    await pool.ask("work", b"0.0005", timeout=TIMEOUT)
                    done += 1
                return done

            asking = [asyncio.ensure_future(ask()) for _ in range(4)]
            await workers.restart()
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: {each["generation"] for each in workers.status()} == {2})
            ends = True
            assert sum(await asyncio.gather(*asking)) > 0
            last = await who(pool, 2)
            assert {generation for generation, _ in last.values()} == {2}
            assert not is_there(first[0][1])
        assert not any(is_there(os_pid) for _, os_pid in last.values())
        assert pool.members == ()
        with pytest.raises(NoMember):
            await pool.ask("who", timeout=0.01)
        assert not [each for each in caplog.records if "worker" in each.getMessage().split()[:1]]

    run(body)


def test_a_worker_that_ends_is_started_anew_until_it_ends_too_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body(context: Context) -> None:
        policy = Restart(limit=1, within=60, backoff=0.01)
        with pytest.raises(WorkersFailed, match=r"given up: worker 0 .* ended with signal SIGKILL"):
            async with Workers(
                f"{PARTS}:make", count=1, context=context, on_failure=policy
            ) as workers:
                pool = workers.pool("part")
                ((_, os_pid),) = (await who(pool, 1)).values()
                with pytest.raises(AskFailed) as raised:
                    await pool.ask("end", b"kill", timeout=TIMEOUT)
                assert not isinstance(raised.value, Draining)  # it was handled
                await until(lambda: not pool.members)
                ((generation, other),) = (await who(pool, 1)).values()
                assert generation == 1
                assert other != os_pid
                assert "ended with signal SIGKILL; it is started anew in 0.01 s" in caplog.text
                with pytest.raises(AskFailed):
                    await pool.ask("end", b"kill", timeout=TIMEOUT)
                await asyncio.sleep(TIMEOUT)
        assert not is_there(other)
        await asyncio.sleep(0)  # it is no longer cancelled

    run(body)


def test_a_worker_that_is_stuck_is_told_of_and_killed(caplog: pytest.LogCaptureFixture) -> None:
    async def body(context: Context) -> None:
        workers = Workers(
            f"{PARTS}:make",
            count=1,
            context=context,
            stuck_after=0.2,
            kill_stuck=True,
            on_failure=Restart(backoff=0.01),
            drain=0.1,
        )
        async with workers:
            pool = workers.pool("part")
            for how in (b"block", b"stop"):  # a handler; and the whole OS process
                with pytest.raises(AskFailed):
                    await pool.ask("end", how, timeout=TIMEOUT)
                await until(lambda: not pool.members)
                await until(lambda: pool.members)
            assert (await who(pool, 1))[0][0] == 2
        assert caplog.text.count("is stuck: its loop has not turned for") == 2
        assert "time.sleep(60)" in caplog.text

    run(body)


def test_stop_has_who_ends_not_be_replaced(caplog: pytest.LogCaptureFixture) -> None:
    async def body(context: Context) -> None:
        async with Workers(parts.make, count=1, context=context, on_failure=Stop()) as workers:
            pool = workers.pool("part")
            with pytest.raises(AskFailed):
                await pool.ask("end", b"kill", timeout=TIMEOUT)
            await until(lambda: "it is not started anew" in caplog.text)
            assert workers.status() == []

    run(body)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        ("make_nothing", "LookupError: there is no shop"),
        ("make_and_end", "it ended with status 3 before it was ready"),
        ("make_late", "was not ready within 1 s"),
        ("make_at_once", "must be an async function"),
        ("nobody", "has no 'nobody'"),
        ("no_function", "and no function"),
    ],
)
def test_workers_that_do_not_start(make: str, why: str) -> None:
    async def body(context: Context) -> None:
        timeout = 1.0 if make == "make_late" else TIMEOUT
        workers = Workers(f"{PARTS}:{make}", count=1, context=context, start_timeout=timeout)
        with pytest.raises(WorkersFailed, match=why):
            async with workers:
                raise AssertionError
        assert not workers._alive

    run(body)


def test_two_programs_on_one_range_of_ports() -> None:
    async def body(context: Context) -> None:
        port = own_port()
        with socket.create_server(("127.0.0.1", port)):
            workers = Workers(f"{PARTS}:make", count=1, context=context, ports=[port])
            with pytest.raises(WorkersFailed, match=f"no port of {port} to {port} is free for wor"):
                async with workers:
                    raise AssertionError
            free = own_port()
            async with Workers(parts.make, count=1, context=context, ports=[port, free]) as workers:
                pool = workers.pool("part")
                assert [pid.port for pid in pool.members] == [free]
                # There is no other port for its replacement, so it leaves first.
                await workers.restart()
                assert [pid.port for pid in pool.members] == [free]
                assert (await who(pool, 1))[0][0] >= 1

    run(body)


PROGRAM = """
import asyncio, compactor, sys
from compactor.workers import Workers

async def main(context):
    async with Workers("tests.workers.parts:make", count=2, context=context, drain=1) as workers:
        print(*[each["os_pid"] for each in workers.status()], flush=True)
        await asyncio.Event().wait()

if __name__ == "__main__":
    compactor.run(main, ip="127.0.0.1")
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(tmp_path: Any, number: int) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, env=environ, text=True
    ) as program:
        assert program.stdout is not None
        os_pids = [int(word) for word in program.stdout.readline().split()]
        assert len(os_pids) == 2
        program.send_signal(number)
        began = time.monotonic()
        while any(is_there(os_pid) for os_pid in os_pids):
            assert time.monotonic() - began < TIMEOUT
            time.sleep(0.01)
        assert program.wait(TIMEOUT) == (0 if number == signal.SIGTERM else -signal.SIGKILL)


@pytest.mark.parametrize(
    ("kw", "error", "why"),
    [
        ({"make": "shop.orders"}, ValueError, "module:function"),
        ({"make": 5}, TypeError, "module:function"),
        ({"make": lambda: None}, ValueError, "inside of a function"),
        ({"count": 0}, ValueError, "from 1 to"),
        ({"count": True}, ValueError, "from 1 to"),
        ({"context": None}, TypeError, "the Context that asks"),
        ({"ports": "5051"}, ValueError, "a range such as '5051-5054'"),
        ({"ports": "5051-5051"}, ValueError, "too few for 2 workers"),
        ({"ports": "5054-5051"}, ValueError, "too few"),
        ({"ports": [0, 70000]}, ValueError, "no port from 1"),
        ({"ports": 5051}, TypeError, "a range such as"),
        ({"on_failure": "restart"}, TypeError, r"Restart\(...\), Stop\(\) or Escalate\(\)"),
        ({"drain": -1}, ValueError, "drain="),
        ({"start_timeout": 0}, ValueError, "start_timeout="),
        ({"stuck_after": "soon"}, ValueError, "stuck_after="),
    ],
)
def test_bad_input(kw: dict[str, Any], error: type[Exception], why: str) -> None:
    context = Context(ip="127.0.0.1")
    given = {"make": f"{PARTS}:make", "count": 2, "context": context, **kw}
    try:
        with pytest.raises(error, match=why):
            Workers(given.pop("make"), **given)
    finally:
        context.stop()


def test_escalate_ends_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)

    async def body(context: Context) -> None:
        with pytest.raises(WorkersFailed, match="ended with signal SIGKILL"):
            async with Workers(
                parts.make, count=1, context=context, on_failure=Escalate()
            ) as workers:
                with pytest.raises(AskFailed):
                    await workers.pool("part").ask("end", b"kill", timeout=TIMEOUT)
                await asyncio.sleep(TIMEOUT)

    run(body)


LEFT = """
import asyncio, sys
from compactor import Context
from compactor.workers import Workers

async def main():
    context = Context(ip="127.0.0.1")
    workers = Workers("tests.workers.parts:make", count=1, context=context, drain=1)
    await workers.__aenter__()
    print(workers.status()[0]["os_pid"], flush=True)  # and nobody closes them

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_program_that_forgets_its_workers_ends(tmp_path: Any) -> None:
    path = tmp_path / "program.py"
    path.write_text(LEFT)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, env=environ, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not is_there(int(done.stdout))
