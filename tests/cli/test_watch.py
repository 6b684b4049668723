"""``compactor watch``: the end of a process, and how a script is told."""

from __future__ import annotations

import json
import threading

import pytest

from compactor import PID, Process, Stop, install
from tests.actors import TIMEOUT, wait_until
from tests.cli.running import command, fails
from tests.ports import own_port


class Worker(Process):
    @install("fail")
    def fail(self, from_pid: PID, body: bytes) -> None:
        raise ValueError("no such job")

    @install("stop")
    def stop(self, from_pid: PID, body: bytes) -> None:
        self.terminate()


@pytest.fixture
def worker(context):
    worker = Worker("worker")
    context.spawn(worker, on_failure=Stop())
    return worker


def watching(worker, *args):
    """The command in another thread, once it has linked."""
    done = []
    thread = threading.Thread(target=lambda: done.append(command("watch", worker.pid, *args)))
    thread.start()
    wait_until(lambda: worker.context._runtime.observers._links)
    return thread, done


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("stop", 0, "has exited: terminated\n"),
        ("fail", 10, "has exited: failed (ValueError: no such job)\n"),
    ],
)
def test_an_exit_is_printed_with_its_reason(worker, name, code, said):
    thread, done = watching(worker)
    worker.context.post(worker.pid, name)
    thread.join(TIMEOUT)
    assert (done[0].exit_code, done[0].stdout) == (code, f"{worker.pid} {said}")


def test_json_has_reason_and_cause(worker):
    thread, done = watching(worker, "--json")
    worker.context.post(worker.pid, "fail")
    thread.join(TIMEOUT)
    assert json.loads(done[0].stdout) == {
        "pid": str(worker.pid),
        "reason": "failed",
        "detail": "ValueError: no such job",
    }


def test_who_never_lived_has_exited(context):
    unknown = PID(context.ip, context.port, "nobody")
    done = command("watch", unknown)
    assert (done.exit_code, done.stdout) == (6, f"{unknown} has exited: no such process\n")
    dead = f"nobody@127.0.0.1:{own_port()}"
    done = command("watch", dead)
    assert (done.exit_code, done.stdout) == (3, f"{dead} has exited: refused\n")


def test_a_watch_has_an_end_if_it_is_told_one(worker):
    said = fails(8, "watch", worker.pid, "--for", 0.1)
    assert said == f"Error: {worker.pid} has not ended within 0.1 s\n"
