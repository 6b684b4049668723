"""A program that PyInstaller froze runs on the extensions, as it did before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from compactor.runtime import hot_path
from tests.backends import why_missing

SECONDS = 600
PROGRAM = """
import compactor

context = compactor.Context(ip="127.0.0.1")
process = compactor.Process("frozen")
context.spawn(process)
print(context.dispatch(process.pid, lambda: "served").result(10))
context.stop()
context.join()
print(compactor.speedups())
"""


@pytest.mark.build
@pytest.mark.timeout(SECONDS)
@pytest.mark.skipif(sys.platform == "win32", reason="the program is started as on POSIX")
def test_a_frozen_program_has_the_extensions(tmp_path: Path) -> None:
    pytest.importorskip("PyInstaller", reason="PyInstaller is not installed")
    if why := why_missing("cython"):
        pytest.skip(why)
    (tmp_path / "program.py").write_text(PROGRAM)
    root = str(Path(hot_path.__file__).parents[2])
    command = [sys.executable, "-m", "PyInstaller", "--log-level", "WARN", "--paths", root]
    done = subprocess.run(
        [*command, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(
        [tmp_path / "dist" / "program" / "program"],
        env={**environ, "COMPACTOR_REQUIRE_SPEEDUPS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0] == "served"
    assert "backend: cython" in ran.stdout
