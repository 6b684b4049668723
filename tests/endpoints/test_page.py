"""docs/endpoints.md: its commands print what it says, and its table has all endpoints."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compactor.endpoints.registry import BUILT_IN
from tests.actors import TIMEOUT
from tests.http.curl import curl
from tests.ports import own_port

PAGE = (Path(__file__).parents[2] / "docs" / "endpoints.md").read_text("utf-8")
PROGRAM = re.search(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
BLOCKS = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [
    (command, output)
    for block in BLOCKS
    for command, output in re.findall(r"^\$ curl ([^\n]*)\n((?:(?!\$ )[^\n]*\n)*)", block, re.M)
]
PORT = "5050"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """That of the program of the page, which runs."""
    assert PROGRAM is not None
    port = own_port()
    source = PROGRAM[1].replace(PORT, str(port))
    with subprocess.Popen([sys.executable, "-c", source], stderr=subprocess.DEVNULL) as program:
        try:
            end = time.monotonic() + TIMEOUT
            while not is_open(port):
                assert time.monotonic() < end
                assert program.poll() is None
                time.sleep(0.02)
            yield port
        finally:
            program.send_signal(signal.SIGTERM)
            assert program.wait(TIMEOUT) == 0


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT).close()
    except ConnectionRefusedError:
        return False
    return True


def test_commands_print_what_the_page_says(port: int) -> None:
    """In their order: one has a level changed."""
    assert len(COMMANDS) == 12
    for command, output in COMMANDS:
        args = [arg.strip("'").replace(PORT, str(port)) for arg in command.split(" ")]
        printed = curl(*args).replace("\r\n", "\n")
        if not printed.endswith("\n") and printed:
            printed += "\n"
        pattern = re.escape(output).replace("…", ".*")
        assert re.fullmatch(pattern, printed, re.DOTALL), f"{command}: {printed}"


def test_the_table_has_all_endpoints() -> None:
    table = dict(re.findall(r"^\| `(/[^`]*)`[^|]* \| (\w*) ?\|", PAGE, re.MULTILINE))
    for endpoint in BUILT_IN:
        assert table.get(endpoint.path) == endpoint.realm
