"""compactor where httptools and uvloop have no build: the same program, in Python alone."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 120

IN_USE = """
from compactor.wire.fields import PARSER
from compactor.net.event_loop import loop_package, new_event_loop
loop = new_event_loop()
loop.close()
print(PARSER, loop_package(), type(loop).__module__.partition(".")[0])
"""


def is_there(package: str) -> bool:
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


def python(*args: str, hidden: str) -> subprocess.CompletedProcess[str]:
    path = [str(ROOT), str(ROOT / "tests" / "hidden_packages"), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, *args],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "COMPACTOR_HIDE_PACKAGES": hidden,
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.mark.parametrize("hidden", ["httptools,uvloop", "httptools", "uvloop"])
def test_what_is_missing_is_replaced_and_named(hidden: str) -> None:
    done = python("-W", "error", "-c", IN_USE, hidden=hidden)
    assert done.returncode == 0, done.stderr
    parser, package, loop = done.stdout.split()
    assert package == loop
    if "uvloop" in hidden:
        assert loop == "asyncio"
    elif is_there("uvloop"):
        assert loop == "uvloop"
    if "httptools" in hidden:
        assert parser == "python"
    elif is_there("httptools"):
        assert parser == "httptools"


@pytest.mark.slow  # .ci/run has all other tests run so, too
def test_what_uses_the_wire_passes_its_tests_without_either() -> None:
    names = ("wire/test_fields", "inbound/test_server", "test_remote", "http/test_http_routes")
    files = [f"tests/{name}.py" for name in names]
    quiet = ["-q", "-r", "fE", "-p", "no:cacheprovider", "-k", "not 100_000_messages"]
    done = python(
        *("-m", "pytest", "-p", "tests.hidden_packages", *quiet, *files), hidden="httptools,uvloop"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
