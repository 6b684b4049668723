"""Faults of the system: no descriptors, no ports, no names, a clock that jumps, a full disk."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import compactor
from tests.raw import read_answer
from tests.reliability.hosts import Network
from tests.reliability.programs import Program

resource = pytest.importorskip("resource", reason="only POSIX bounds descriptors so")

Start = Callable[..., Program]

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and limits a process")


def cpu_seconds(pid: int) -> float:
    """CPU time that a program has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_served(port: int, seconds: float) -> bool:
    """Whether a new connection gets an answer in time."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as sock:
            sock.sendall(b"GET /nobody HTTP/1.1\r\nHost: x\r\n\r\n")
            return read_answer(sock)[0] == 404
    except (OSError, AssertionError):
        return False


@needs_linux
@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_without_descriptors_open_connections_are_served_new_ones_are_not_and_it_recovers(
    start: Start, loop: str
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    program = start(loop=loop, settings={"spare_descriptors": 2})
    address = ("127.0.0.1", program.port)
    _, hard = resource.prlimit(program.os_pid, resource.RLIMIT_NOFILE)

    def used() -> int:
        return max(map(int, os.listdir(f"/proc/{program.os_pid}/fd"))) + 1

    resource.prlimit(program.os_pid, resource.RLIMIT_NOFILE, (used() + 8, hard))
    connections = [socket.create_connection(address, timeout=10) for _ in range(30)]
    connections[0].sendall(b"GET /nobody HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_answer(connections[0])[0] == 404
    assert not is_served(program.port, 0.5)  # the spare ones are not for it
    resource.prlimit(program.os_pid, resource.RLIMIT_NOFILE, (used(), hard))  # now there are none
    connections[0].sendall(b"GET /nobody HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_answer(connections[0])[0] == 404
    connections += [socket.create_connection(address, timeout=10) for _ in range(3)]

    program.tell("link", to="x@127.0.0.1:9")
    assert program.take("exited")["reason"] == "unreachable"

    before = cpu_seconds(program.os_pid)
    program.say_nothing("exited", 2.0)  # a loop that spins would burn all of that
    assert cpu_seconds(program.os_pid) - before < 0.5

    for connection in connections:
        connection.close()
    resource.prlimit(program.os_pid, resource.RLIMIT_NOFILE, (used() + 8, hard))
    end = time.monotonic() + 5
    while not is_served(program.port, 2.0):
        assert time.monotonic() < end, "it does not accept again"
    program.send(program.pid, "still works")
    assert program.take("message")["body"] == "still works"


EXHAUST = """
import socket, struct, sys
held = []
try:
    while True:
        held.append(socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5))
        held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
except OSError as error:
    print(error.errno, flush=True)
sys.stdin.read()
"""


def test_without_ports_a_link_exits_with_unreachable_and_resumes_when_there_are(
    network: Network, start: Start
) -> None:
    here, far = network.add_host(), network.add_host()
    linker, linked = start(here), start(far)
    ports = "echo 40000 40003 > /proc/sys/net/ipv4/ip_local_port_range"
    here.run("sh", "-c", ports)
    command = [*here.prefix, sys.executable, "-c", EXHAUST, linked.ip, str(linked.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hog:
        assert hog.stdout is not None
        assert int(hog.stdout.readline()) == 99  # EADDRNOTAVAIL
        linker.tell("link", to=linked.pid)
        linker.send(linked.pid, "lost")
        exited = linker.take("exited")
        assert (exited["pid"], exited["reason"]) == (linked.pid, "unreachable")
        assert linker.take("letter")["reason"] == "unreachable"
        hog.communicate("", timeout=10)
    linker.tell("link", to=linked.pid)
    linker.send(linked.pid, "arrives")
    assert linked.take("message")["body"] == "arrives"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_names_that_hang_exit_in_time_and_hold_up_no_numeric_address(
    network: Network, start: Start, tmp_path: Path, loop: str
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    here, far = network.add_host(), network.add_host()
    server = network.add_host()
    server.cable.is_cut = True
    config = tmp_path / "resolv.conf"
    config.write_text(f"nameserver {server.ip}\noptions timeout:5 attempts:1\n")
    mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    linked = start(far)
    prefix = ("unshare", "--mount", "sh", "-c", mount, str(config))
    linker = start(here, prefix=prefix, loop=loop, settings={"connect_timeout": 1.0})
    names = [f"node@host-{number}.example.:5050" for number in range(40)]
    told = time.monotonic()
    for name in names:
        linker.tell("link", to=name)
    linker.tell("link", to=linked.pid)
    told_numeric = linker.send(linked.pid, "numeric")
    assert linked.take("message")["at"] - told_numeric < 1.0
    exits = [linker.take("exited") for _ in names]
    assert {exited["pid"] for exited in exits} == set(names)
    assert {exited["reason"] for exited in exits} == {"timeout"}
    assert max(exited["at"] for exited in exits) - told < 1.0 + 1.5
    local = start(here)
    told = time.monotonic()
    linker.tell("link", to=f"nobody@localhost:{local.port}")  # /etc/hosts knows it
    exited = linker.take("exited")
    assert exited["reason"] in ("no such process", "refused")
    assert exited["at"] - told < 1.0 + 1.0
    told = time.monotonic()
    linker.finish()  # before the lookups are given up
    assert time.monotonic() - told < 3.0


def test_a_wall_clock_that_jumps_by_days_disturbs_nothing(start: Start) -> None:
    jumping, other = start(clock="jumps"), start()
    jumping.tell("link", to=other.pid)
    other.tell("link", to=jumping.pid)
    told = jumping.tell("delay", seconds=0.21)  # loops count whole milliseconds
    assert 0.2 <= jumping.take("delayed")["at"] - told < 2.0
    jumping.send(other.pid, "there")
    other.take("message")
    other.send(jumping.pid, "back")
    jumping.take("message")
    assert is_served(jumping.port, 5.0)
    assert not jumping.seen("exited")
    told = other.kill()
    assert jumping.take("exited")["at"] - told < 1.0


def test_only_dates_read_the_wall_clock() -> None:
    package = Path(compactor.__file__).parent
    wall_clock = re.compile(
        r"\btime\.time\b|clock\.date\b|from time import .*\btime\b|datetime|localtime"
    )
    sources = [path for path in package.rglob("*.py*") if path.suffix in (".py", ".pyx")]
    sources = [path for path in sources if not path.is_relative_to(package / "testing")]
    found = {path.name for path in sources if wall_clock.search(path.read_text())}
    of_answers, of_new_certificates = "response_queue.py", "dev_certificates.py"
    # Dates that fields of HTTP carry: when a file was changed, and when a cookie ends.
    in_fields = {"files.py", "cookies.py", "response.py"}
    # When tokens and certificates end, whether clocks are right; terms that grow over restarts.
    of_others = {"tokens.py", "certificates.py", "surroundings.py", "peer.py", "memory_server.py"}
    assert found <= {"clock.py", of_answers, of_new_certificates} | in_fields | of_others


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_costs_the_log_and_nothing_else(start: Start) -> None:
    full, other = start(log="/dev/full"), start()
    full.tell("link", to=other.pid)
    full.send("node@127.0.0.1:9", "lost")
    assert full.take("letter")["reason"] == "refused"
    full.send(other.pid, "there")
    assert other.take("message")["body"] == "there"
    other.kill()
    assert full.take("exited")["pid"] == other.pid
