"""Foreign programs that run as peers: how they are installed once, started, read and killed."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

TIMEOUT = 20.0
"""Seconds that a test waits for something that should happen at once."""


class Unavailable(Exception):
    """A peer cannot run on this machine; the text says why."""


def python27() -> str:
    """The CPython 2.7 that has pip: ``COMPACTOR_PYTHON27``, or the one on PATH, or pyenv's."""
    pyenv = sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/2.7.*/bin/python2.7")))
    for path in [os.environ.get("COMPACTOR_PYTHON27"), shutil.which("python2.7"), *pyenv]:
        if path:
            found = subprocess.run(
                [path, "-c", "import pip, sys; print(sys.executable)"],
                capture_output=True,
                text=True,
            )
            if found.returncode == 0:
                return found.stdout.strip()
    raise Unavailable("no CPython 2.7 with pip: set COMPACTOR_PYTHON27, or install one by pyenv")


def pip(python: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run pip, and return what came of it."""
    quiet = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1")
    return subprocess.run(
        [python, "-m", "pip", *map(str, args)], capture_output=True, text=True, env=quiet
    )


def home_of(variable: str, default: str) -> Path:
    """The folder that the environment variable names, or the default."""
    return Path(os.environ.get(variable) or default).expanduser()


@contextlib.contextmanager
def prepared_once(home: Path, version: str) -> Iterator[bool]:
    """Yield whether ``home`` still has to be filled; it counts as filled if the block succeeds.

    Other test runs that ask for the same folder wait meanwhile.
    """
    home.mkdir(parents=True, exist_ok=True)
    marker = home / "ready"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        is_ready = marker.exists() and marker.read_text() == version
        if not is_ready:
            marker.unlink(missing_ok=True)
        yield not is_ready
        marker.write_text(version)


class Program:
    """A foreign program of which the printed lines are read; killed by its pid, never politely."""

    def __init__(
        self, command: Sequence[str | Path], environ: Mapping[str, str], log: Path
    ) -> None:
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("LIBPROCESS_", "SSL_"))
        }
        self.log = log
        with log.open("ab") as stderr:
            self._popen = subprocess.Popen(
                list(map(str, command)),
                env={**inherited, **environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self.pid = self._popen.pid
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def expect(self, word: str, timeout: float = TIMEOUT) -> list[str]:
        """The words of the next line that starts with ``word``; lines before it are skipped."""
        skipped: list[str] = []
        while True:
            try:
                line = self._lines.get(timeout=timeout)
            except queue.Empty:
                line = None
            if line is None:
                end = self.log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"no {word} from the program, but {skipped}; its log: {end}")
            if line.split(" ")[0] == word:
                return line.split(" ")[1:]
            skipped.append(line)

    def tell(self, *words: object) -> None:
        """Write one line to the program."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(" ".join(map(str, words)) + "\n")
        self._popen.stdin.flush()

    @property
    def is_alive(self) -> bool:
        """Whether the operating system still runs it."""
        return self._popen.poll() is None

    def kill(self) -> None:
        """``kill -9``, and wait until the operating system is done with it."""
        if self.is_alive:
            os.kill(self.pid, signal.SIGKILL)
        self._popen.wait()
        if self._popen.stdin is not None:
            with contextlib.suppress(OSError):
                self._popen.stdin.close()
        self._reader.join(TIMEOUT)
