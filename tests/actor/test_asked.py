"""What a handler awaits ends with the answer, whatever that is."""

from __future__ import annotations

from typing import Any

import pytest

from compactor.pid import PID
from compactor.runtime.hot_path import Backend

TO = PID("192.0.2.7", 5051, "store")
ERROR = ValueError("an answer, not raised")


def new_asked(backend: Backend) -> Any:
    def ignore(*_: Any) -> None:
        pass

    return backend.Asked(TO, "get", None, None, backend.RunQueue(), ignore, ignore)


async def awaited(asked: Any) -> Any:
    return await asked


@pytest.mark.parametrize(
    "answer", [b"", None, (), (1, 2), ((1, 2),), ERROR, StopIteration(3), [1]], ids=repr
)
def test_what_is_awaited_is_the_answer_itself(backend: Backend, answer: Any) -> None:
    asked = new_asked(backend)
    waiting = awaited(asked)
    assert waiting.send(None) is asked
    asked.keep(answer)
    with pytest.raises(StopIteration) as ended:
        waiting.send(None)
    assert ended.value.value is answer
    assert asked.result() is answer


def test_an_answer_ends_a_step_by_hand(backend: Backend) -> None:
    asked = new_asked(backend)
    asked.keep((1, 2))
    with pytest.raises(StopIteration) as ended:
        next(asked.__await__())
    assert ended.value.value == (1, 2)


def test_what_is_awaited_may_fail(backend: Backend) -> None:
    asked = new_asked(backend)
    waiting = awaited(asked)
    waiting.send(None)
    asked.fail(ERROR)
    with pytest.raises(ValueError, match="not raised") as raised:
        waiting.send(None)
    assert raised.value is ERROR
