"""Peers that run in an interpreter of their own: how they are installed once, and started.

Each lives in a folder of `$COMPACTOR_BENCH_HOME` (default: `$XDG_CACHE_HOME/compactor-bench`) and
speaks JSON lines on its standard output, see `programs/`.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from tests.interop import legacy_fixture
from tests.interop.programs import Unavailable, home_of, pip, prepared_once

CASTY = "casty==0.30.2"
XOSCAR = "xoscar==0.12.2"

Command = Callable[[], list[str]]
"""How to start a peer's program, once it is installed; raises Unavailable where it cannot be."""

_PROGRAMS = Path(__file__).with_name("programs")
_CACHE = os.environ.get("XDG_CACHE_HOME") or "~/.cache"


def need(module: str, package: str) -> None:
    """Raise Unavailable unless this interpreter has the module."""
    if not find_spec(module):
        raise Unavailable(f"{package} is not installed: pip install '.[bench]'")


def casty() -> list[str]:
    return [_environment("casty", CASTY, _python312()), str(_PROGRAMS / "casty_peer.py")]


def xoscar() -> list[str]:
    return [_environment("xoscar", XOSCAR, sys.executable), str(_PROGRAMS / "xoscar_peer.py")]


def legacy() -> list[str]:
    home = legacy_fixture.prepare()
    environ = [f"PYTHONPATH={home.home / 'site'}", "LIBPROCESS_IP=127.0.0.1"]
    return ["env", *environ, home.python, "-s", str(_PROGRAMS / "legacy_peer.py")]


def _python312() -> str:
    """A CPython from 3.12 on: this one, or one on PATH, or pyenv's."""
    if sys.version_info >= (3, 12):
        return sys.executable
    pyenv = sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.1[2-9].*/bin/python")))
    on_path = [shutil.which(f"python3.{minor}") for minor in range(12, 20)]
    for path in [*pyenv, *on_path]:
        if path and not subprocess.run([path, "-c", "import venv"], capture_output=True).returncode:
            return path
    raise Unavailable("no Python 3.12 or later")


def _environment(name: str, requirement: str, python: str) -> str:
    """The interpreter of a virtual environment that has the requirement."""
    home = home_of("COMPACTOR_BENCH_HOME", f"{_CACHE}/compactor-bench") / name
    inside = str(home / "venv" / "bin" / "python")
    with prepared_once(home, f"{requirement} for {python}") as is_missing:
        if is_missing:
            done = subprocess.run(
                [python, "-m", "venv", "--clear", home / "venv"], capture_output=True, text=True
            )
            if done.returncode == 0:
                done = pip(inside, "install", requirement)
            if done.returncode:
                last_line = done.stderr.strip().rpartition("\n")[2]
                raise Unavailable(f"{requirement} not installable: {last_line}")
    return inside
