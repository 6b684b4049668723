"""Instructions per message of each path, counted by `valgrind --tool=callgrind`.

One OS process imports everything, and forks one for each path, so that none finds what another has
left behind.  There the path runs, first to warm up, then in `SEGMENTS` segments alike.  Between two
segments it calls `getppid`, which has callgrind write down what it has counted and start anew.  So
what is counted is the path alone.  Of the segments the median counts: a dict that grows, or a
second that ends, hits one of them.

Little is left to chance: the hash seed is fixed, the clock of the turns stands still, the garbage
collector is off, there is one thread, and the environment has only what is set here.
"""

from __future__ import annotations

import gc
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import paths
from benchmarks.ask_paths import PATHS
from compactor.runtime import hot_path

WARM_UP = 20  # calls of a path's work, which specialise Python's bytecode
SEGMENTS = 5
CALLS = 10  # of one segment
FEWER_CALLS = {"parse": 3, "spawn": 3}  # where one call takes some million instructions
DEADLINE = 600.0  # seconds; valgrind is slow, and others may be at work

Counts = dict[str, float]
"""Instructions per message, by path."""

_ROOT = Path(__file__).parents[1]
_PROGRAM = """\
import time
time.perf_counter = float  # stands still: by it turns of the loop would end
from benchmarks.counting import run_paths
run_paths({kind!r}, {names!r}, {slowdowns!r})
"""
_GCC = re.compile(rb"GCC: \([^)]*\) ([\d.]+)")
_CLANG = re.compile(rb"clang version ([\d.]+)")


class CannotCount(Exception):
    """Instructions cannot be counted here."""


def run_paths(kind: str, names: Sequence[str], slowdowns: Sequence[float]) -> None:
    """What the counted process does.

    Args:
        kind: the backend.
        names: the paths.
        slowdowns: the shares of messages that the encoder's paths do on top, as if they had become
            slower by so much; all paths run with each of them.
    """
    gc.disable()
    backend = hot_path.backend(kind)
    for slowdown, name in product(slowdowns, names):
        paths.ENCODED = round(paths.MESSAGES * (1 + slowdown))
        child = os.fork()
        if not child:
            _run_path(backend, name)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit(f"{name} failed")
        print(child, flush=True)


def _run_path(backend: hot_path.Backend, name: str) -> None:
    calls = FEWER_CALLS.get(name, CALLS)
    with PATHS[name](backend) as work:
        for _ in range(WARM_UP):
            work()
        os.getppid()
        for _ in range(SEGMENTS):
            for _ in range(calls):
                work()
            os.getppid()


def count(
    kind: str,
    names: Sequence[str] = tuple(PATHS),
    slowdown: float = 0.0,
    environ: Mapping[str, str] | None = None,
) -> Counts:
    """Count the instructions of the paths of a backend.

    Args:
        slowdown: as `counts` takes many.
        environ: further environment variables of the counted process.

    Raises:
        CannotCount: callgrind failed, or counted something else than asked.
    """
    (counted,) = counts(kind, names, [slowdown], environ)
    return counted


def counts(
    kind: str,
    names: Sequence[str],
    slowdowns: Sequence[float],
    environ: Mapping[str, str] | None = None,
) -> list[Counts]:
    """Count in one program what `count` counts for one slowdown, for each of them.

    Args:
        slowdowns: the shares of messages that the encoder's paths do on top.
    """
    with TemporaryDirectory() as folder:
        here = Path(folder)
        text = _PROGRAM.format(kind=kind, names=[*names], slowdowns=[*slowdowns])
        program = [sys.executable, "-c", text]
        environ = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONHASHSEED": "0",
            "PYTHONPYCACHEPREFIX": str(here / "bytecode"),
            **(environ or {}),
        }
        _run(program, environ)  # writes the bytecode, of what is imported late too
        children = _run([*_callgrind(here), *program], environ).split()
        found = [
            _per_message(name, sorted(here.glob(f"{child}.*"), key=_number))
            for (_, name), child in zip(product(slowdowns, names), children, strict=True)
        ]
    many = len(names)
    return [
        dict(zip(names, found[at : at + many], strict=True)) for at in range(0, len(found), many)
    ]


def _per_message(name: str, marks: Sequence[Path]) -> float:
    """The instructions that callgrind wrote at the marks of one path, for one message."""
    if len(marks) != SEGMENTS + 1:
        raise CannotCount(f"{name}: {SEGMENTS + 1} marks expected, {len(marks)} found")
    totals = [_total(file) for file in marks[1:]]  # what is before the first one is the warm-up
    return median(totals) / (FEWER_CALLS.get(name, CALLS) * paths.MESSAGES)


def _number(file: Path) -> int:
    return int(file.suffix[1:])


def _callgrind(folder: Path) -> list[str]:
    options = ["--dump-before=getppid", "--dump-line=no", f"--callgrind-out-file={folder}/%p"]
    return ["valgrind", "--tool=callgrind", *options]


def _run(command: list[str], environ: Mapping[str, str]) -> str:
    """Run a program, and return what it prints."""
    done = subprocess.run(
        command, cwd=_ROOT, env=environ, capture_output=True, text=True, timeout=DEADLINE
    )
    if done.returncode:
        raise CannotCount(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _total(file: Path) -> int:
    found = re.search(r"^totals: (\d+)", file.read_text(), re.MULTILINE)
    if found is None:
        raise CannotCount(f"callgrind wrote no total in {file.name}")
    return int(found[1])


def build(kind: str) -> str:
    """What the counts of a backend depend on: interpreter, valgrind, and who compiled what.

    Raises:
        CannotCount: there is no valgrind, or no such backend.
    """
    if not shutil.which("valgrind"):
        raise CannotCount("valgrind is not installed (Debian's package valgrind)")
    valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True).stdout
    parts = [
        f"{platform.python_implementation()} {platform.python_version()}",
        platform.python_compiler(),
        platform.machine(),
        valgrind.strip().replace("-", " "),
    ]
    try:
        hot_path.backend(kind)
    except ImportError as error:
        raise CannotCount(f"there is no backend {kind!r} here: {error}") from None
    if kind == "cython":
        parts.append(f"extensions by {_compilers()}")
    return ", ".join(parts)


def _compilers() -> str:
    """Who compiled the extensions, as the files themselves say."""
    file = import_module("compactor._speedups.wire.encoder").__file__
    assert file is not None
    binary = Path(file).read_bytes()
    for name, pattern in (("GCC", _GCC), ("clang", _CLANG)):
        match = pattern.search(binary)
        if match:
            return f"{name} {match[1].decode()}"
    return "an unknown compiler"
