"""The future that a dispatch is does all that those of the standard library do."""

from __future__ import annotations

import asyncio
import concurrent.futures
import pickle
import sys
import threading

import pytest

from compactor import Future
from compactor.runtime import hot_path

TIMEOUT = 5.0


pytestmark = pytest.mark.usefixtures("backend")


def new() -> Future[int]:
    return hot_path.chosen.Dispatch(None, len, ())  # type: ignore[arg-type]


def running() -> Future[int]:
    future = new()
    assert future.set_running_or_notify_cancel()
    return future


def test_future_that_nobody_waits_for_makes_no_condition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = sys.modules[hot_path.chosen.Dispatch.__module__]
    monkeypatch.setattr(module, "_Condition", None)  # cannot be called
    future = running()
    assert (future.running(), future.done(), future.cancel()) == (True, False, False)
    future.set_result(5)

    assert (future.running(), future.done(), future.cancelled()) == (False, True, False)
    assert future.result() == 5
    monkeypatch.undo()
    assert future.exception() is None
    with pytest.raises(concurrent.futures.InvalidStateError):
        future.set_result(6)
    assert (future.result(), future.cancel()) == (5, False)


@pytest.mark.parametrize("is_watched", [False, True])
def test_future_that_fails(is_watched: bool) -> None:
    future = running()
    if is_watched:
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(0)
    future.set_exception(LookupError("broken"))

    with pytest.raises(LookupError, match="broken"):
        future.result()
    assert isinstance(future.exception(), LookupError)
    assert "LookupError" in repr(future)


def test_future_is_cancelled_until_it_runs() -> None:
    future = new()

    assert future.cancel()
    assert future.cancel()
    assert (future.cancelled(), future.done(), future.running()) == (True, True, False)
    assert not future.set_running_or_notify_cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()


def test_callbacks_come_once_however_early() -> None:
    seen: list[object] = []
    for moment in range(3):
        future = new()
        for now in range(3):
            if now == moment:
                future.add_done_callback(seen.append)
            if now == 0:
                future.set_running_or_notify_cancel()
            elif now == 1:
                future.set_result(now)
        assert seen == [future]
        seen.clear()


def test_threads_wait_for_many_of_them() -> None:
    for ways in range(200):
        futures = [running() for _ in range(5)]

        def finish(futures: list[Future[int]] = futures) -> None:
            for number, future in enumerate(futures):
                future.set_result(number)

        setter = threading.Thread(target=finish)
        setter.start()
        if ways % 2:
            done = concurrent.futures.as_completed(futures, TIMEOUT)
            assert sorted(future.result() for future in done) == [0, 1, 2, 3, 4]
        else:
            assert not concurrent.futures.wait(futures, TIMEOUT).not_done
            assert [future.result(TIMEOUT) for future in futures] == [0, 1, 2, 3, 4]
        setter.join()


def test_coroutines_await_it_in_every_way() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for wrap in (asyncio.wrap_future, asyncio.ensure_future, lambda future: future):
            for is_started in (False, True):
                future = running() if is_started else new()

                def finish(future: Future[int] = future) -> None:
                    if not future.running():
                        future.set_running_or_notify_cancel()
                    future.set_result(7)

                thread = threading.Timer(0.01, finish)
                thread.start()
                assert await asyncio.wait_for(wrap(future), TIMEOUT) == 7
                assert await future == 7
                thread.join()
        future = new()
        task = asyncio.ensure_future(future)
        loop.call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert future.cancelled()
        future = new()
        loop.call_soon(future.cancel)
        with pytest.raises(asyncio.CancelledError):
            await future

    asyncio.run(main())


def test_future_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(running())


def test_future_is_one_for_programs() -> None:
    assert isinstance(running(), Future)
    assert isinstance(running(), concurrent.futures.Future)
