"""A job queue: a master hands jobs to workers in OS processes of their own.  A job whose worker is
killed, or hangs, is given to another one.

    python work_queue.py                one master and three workers; one of them is killed in the
                                        middle of its first job, and one hangs
    python work_queue.py master         a master alone, which prints its pid
    python work_queue.py worker PID     a worker for that master, on this machine or another
"""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass

import compactor
from compactor import (
    PID,
    Ask,
    AskFailed,
    AskTimeout,
    Context,
    Process,
    Reason,
    Reply,
    answer,
    install,
)

PATIENCE = float(os.environ.get("PATIENCE", "2"))  # seconds that a worker has for one job
TRIES = 4


@dataclass
class Count(Ask[int]):
    """A job: how many words has the text?"""

    text: str


@dataclass
class Submit(Ask[int]):
    """Have a job done, whichever worker does it."""

    job: Count


@dataclass
class Join:
    """A worker is ready."""


class Master(Process):
    """Hands each job to a worker that is idle, until one has done it."""

    def __init__(self) -> None:
        super().__init__("master")
        self.alive: set[PID] = set()
        self.idle: asyncio.Queue[PID] = asyncio.Queue()
        self.under_way: set[asyncio.Task[None]] = set()
        self.joined = asyncio.Semaphore(0)

    @install(Join)
    def join(self, worker: PID, message: Join) -> None:
        self.link(worker)
        self.alive.add(worker)
        self.idle.put_nowait(worker)
        self.joined.release()

    def exited(self, worker: PID, reason: Reason) -> None:
        self.alive.discard(worker)

    @install(Submit)
    def submit(self, from_pid: PID, message: Submit) -> None:
        """Many jobs at a time: each is answered once its worker has."""
        task = asyncio.create_task(self.have_done(message.job, self.defer_reply()))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)

    async def have_done(self, job: Count, reply: Reply) -> None:
        for _ in range(TRIES):
            worker = await self.next_idle()
            try:
                reply(await self.ask(worker, job, timeout=PATIENCE))
                return
            except AskTimeout:
                print(f"{job.text!r} takes too long", flush=True)  # and is cancelled there
            except AskFailed as error:
                self.alive.discard(worker)
                print(f"{job.text!r} is lost: {error.reason}", flush=True)
            finally:
                self.idle.put_nowait(worker)
        reply.fail(RuntimeError(f"{TRIES} workers have tried {job.text!r}"))

    async def next_idle(self) -> PID:
        while (worker := await self.idle.get()) not in self.alive:
            pass  # it has ended meanwhile
        return worker


class Worker(Process):
    """Does one job at a time.

    Args:
        master: whom it works for.
        fault: what happens in its first job: ``killed``, ``hangs`` or nothing.
    """

    def __init__(self, master: PID, fault: str = "") -> None:
        super().__init__()
        self.master = master
        self.fault = fault

    def initialize(self) -> None:
        self.link(self.master)
        self.send(self.master, Join())

    def exited(self, master: PID, reason: Reason) -> None:
        self.context.stop()  # there is no work without a master

    @answer(Count)
    async def count(self, from_pid: PID, job: Count) -> int:
        fault, self.fault = self.fault, ""
        if fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hangs":
            await asyncio.Event().wait()
        return len(job.text.split())


async def master(context: Context) -> None:
    print(context.spawn(Master()), flush=True)
    await asyncio.Event().wait()  # until SIGTERM or Control-C


async def worker(context: Context) -> None:
    context.spawn(Worker(PID.from_string(sys.argv[2]), *sys.argv[3:]))
    await asyncio.Event().wait()


async def demo(context: Context) -> None:
    master = Master()
    pid = context.spawn(master)
    faults = ("killed", "hangs", "")
    program = [sys.executable, __file__, "worker", str(pid)]
    workers = [await asyncio.create_subprocess_exec(*program, fault) for fault in faults]
    for _ in workers:
        await master.joined.acquire()

    texts = ["one", "two words", "three more words", "a text of five words"]
    for result in [context.ask(pid, Submit(Count(text)), timeout=60.0) for text in texts]:
        print(await result, "words", flush=True)

    for worker in workers:
        if worker.returncode is None:
            worker.terminate()
        await worker.wait()


if __name__ == "__main__":
    command = sys.argv[1] if len(sys.argv) > 1 else "demo"
    main = {"master": master, "worker": worker, "demo": demo}[command]
    compactor.run(main, ip=os.environ.get("LIBPROCESS_IP", "127.0.0.1"))
