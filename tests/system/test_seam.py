"""All that a context asks of its operating system is asked in one room."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import compactor

PACKAGE = Path(compactor.__file__).parent

ASKS = re.compile(
    r"\bos\.(urandom|dup|pipe)\b|\brandom\.\w+\(|^ *import (secrets|fcntl|termios)\b"
    r"|\bsocket\.(socket|getaddrinfo|getnameinfo|create_server|create_connection)\("
    r"|\btime\.(time|monotonic|perf_counter)\b",
    re.MULTILINE,
)

MAY_ASK = {
    "system/clock.py",
    "system/names.py",
    "system/notify.py",
    "system/sockets.py",
    "system/system.py",
    "tls/dev_certificates.py",  # for files, not for a context
}


@pytest.mark.smoke
def test_nothing_else_asks_the_kernel_or_the_chance() -> None:
    sources = [path for path in PACKAGE.rglob("*.py*") if path.suffix in (".py", ".pyx")]
    asking = {
        path.relative_to(PACKAGE).as_posix()
        for path in sources
        if ASKS.search(path.read_text("utf-8"))
    }
    asking = {name for name in asking if not name.startswith(("cli/", "testing/"))}
    assert asking <= MAY_ASK
    assert "system/sockets.py" in asking
