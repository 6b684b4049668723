"""Ports of tests stay theirs, beside other test runs and whatever else opens sockets."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ports

PRINT_PORT = "from tests.ports import own_port; print(own_port(), flush=True); input()"
ROOT = Path(__file__).parents[1]


def test_no_other_program_is_given_a_port_by_the_system_that_a_test_may_have() -> None:
    chosen = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not chosen.exists():
        pytest.skip("only Linux tells which ports it chooses from")
    assert int(chosen.read_text().split()[0]) >= ports.END


def test_test_runs_that_live_at_the_same_time_have_no_port_in_common() -> None:
    here, pipe = ports.own_port(), subprocess.PIPE
    runs = [
        subprocess.Popen([sys.executable, "-c", PRINT_PORT], stdin=pipe, stdout=pipe, cwd=ROOT)
        for _ in range(2)
    ]
    try:
        there = [int(run.stdout.readline()) for run in runs]  # type: ignore[union-attr]
    finally:
        for run in runs:
            run.communicate(b"\n")
    blocks = {port // ports.BLOCK for port in (here, *there)}
    assert len(blocks) == 3
    assert all(ports.FIRST <= port < ports.END for port in there)


def test_a_port_on_which_somebody_listens_is_not_given_until_that_ends() -> None:
    taken = ports.own_port()
    with socket.create_server(("127.0.0.1", taken)):
        assert taken not in [ports.own_port() for _ in range(ports.BLOCK)]
    assert taken in [ports.own_port() for _ in range(ports.BLOCK)]
