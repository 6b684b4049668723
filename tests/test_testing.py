"""compactor.testing: what it gives to the tests of others, and that it leaks nothing."""

from __future__ import annotations

import socket
import unittest

import pytest

from compactor import Context
from compactor.errors import SettingsError
from compactor.testing import EphemeralContextTestCase, ephemeral_context
from tests.actors import Receiver
from tests.ports import own_port

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture(autouse=True)
def _port_that_nobody_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBPROCESS_PORT", str(own_port()))


def _is_gone(context: Context) -> bool:
    with socket.socket() as probe:
        return not context.is_alive() and probe.connect_ex((context.ip, context.port)) != 0


@pytest.mark.smoke
def test_ephemeral_context_is_started_and_ends_with_its_block() -> None:
    with ephemeral_context() as context:
        assert context.is_alive()
        receiver = Receiver()
        context.spawn(receiver)
        receiver.send(receiver.pid, "message", b"x")
        assert receiver.received.take() == (receiver.pid, b"x")

    assert _is_gone(context)


def test_ephemeral_context_ends_when_its_block_raises() -> None:
    with pytest.raises(ZeroDivisionError), ephemeral_context() as context:
        raise ZeroDivisionError

    assert _is_gone(context)


def test_ephemeral_context_takes_what_context_takes() -> None:
    with ephemeral_context(ip="127.0.0.1", advertise_port=7, delegate="master") as context:
        assert (context.ip, context.port, context.delegate) == ("127.0.0.1", 7, "master")
    with pytest.raises(SettingsError), ephemeral_context(port=-1):
        pass


def test_ephemeral_context_may_be_stopped_in_its_block() -> None:
    with ephemeral_context() as context:
        context.stop()
        context.join()

    assert _is_gone(context)


def _run(case: unittest.TestCase) -> unittest.TestResult:
    result = unittest.TestResult()
    case.run(result)
    return result


class _Case(EphemeralContextTestCase):
    contexts: list[Context]

    def setUp(self) -> None:
        super().setUp()
        type(self).contexts = [self.context]

    def passes(self) -> None:
        assert self.context.is_alive()

    def fails(self) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize(("method", "errors"), [("passes", 0), ("fails", 1)])
def test_case_has_a_running_context_that_ends_with_each_test(method: str, errors: int) -> None:
    result = _run(_Case(method))

    assert (result.testsRun, len(result.errors), len(result.failures)) == (1, errors, 0)
    assert _is_gone(_Case.contexts[0])


def test_case_whose_set_up_fails_later_leaks_nothing() -> None:
    class Broken(_Case):
        def setUp(self) -> None:
            super().setUp()
            raise ZeroDivisionError

    assert len(_run(Broken("passes")).errors) == 1
    assert _is_gone(Broken.contexts[0])


def test_case_with_an_own_tear_down_leaks_nothing() -> None:
    class Own(_Case):
        def tearDown(self) -> None:
            self.context.stop()
            super().tearDown()

    assert _run(Own("passes")).wasSuccessful()
    assert _is_gone(Own.contexts[0])
