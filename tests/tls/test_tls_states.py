"""Where a TLS connection stands, and what may follow: as the table says, and as it prints."""

from __future__ import annotations

from graphlib import TopologicalSorter

import pytest

from compactor.tls.states import CLOSED, CUT, NEXT, OPEN, SHAKING_HANDS, State
from compactor.tls.transport import TlsTransport
from tests.actors import Receiver, spawned, wait_until
from tests.tls.test_tls import MakeContext
from tests.tls_fixture import Certificates


def test_a_state_leads_to_later_ones_only_and_each_is_reached() -> None:
    assert list(NEXT) == list(State)
    assert all(after > state for state, others in NEXT.items() for after in others)
    assert {state for others in NEXT.values() for state in others} == set(State) - {SHAKING_HANDS}
    assert list(TopologicalSorter(NEXT).static_order())[-1] is SHAKING_HANDS


def test_what_is_over_stays_over() -> None:
    assert [state for state, others in NEXT.items() if not others] == [CLOSED, CUT]


@pytest.mark.parametrize("state", [state for state in State if state > OPEN])
def test_a_connection_that_is_not_open_any_more_never_is_again(state: State) -> None:
    assert all(after > OPEN for after in NEXT[state])


def test_a_connection_prints_where_it_stands(
    make_context: MakeContext, certificates: Certificates
) -> None:
    here = spawned(make_context(tls=certificates.settings()), Receiver("here"))
    there = spawned(make_context(tls=certificates.settings()), Receiver("there"))
    here.send(there.pid, "message", b"hello")
    assert there.received.take() == (here.pid, b"hello")
    (connection,) = here.context._runtime.outgoing
    transport = connection.transport
    assert isinstance(transport, TlsTransport)
    assert repr(transport) == "<TlsTransport: OPEN>"
    there.context.stop()
    wait_until(lambda: repr(transport) == "<TlsTransport: CLOSED, ended by the peer>")
