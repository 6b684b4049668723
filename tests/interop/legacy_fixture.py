"""compactor 0.3.0, the last release of the original: how it is installed and started as a peer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .programs import Program, Unavailable, home_of, pip, prepared_once, python27

# twitter.common.lang, which it also asks for, is never imported.
PACKAGES = (
    "compactor==0.3.0",
    "tornado==4.1",
    "trollius==2.2.1",
    "futures==3.4.0",
    "six==1.17.0",
)

_PROGRAM = Path(__file__).with_name("legacy_peer.py")


@dataclass(frozen=True)
class Legacy:
    """An installed compactor 0.3.0.

    Attributes:
        home: the folder that it was installed in.
        python: the Python 2.7 to run it.
    """

    home: Path
    python: str

    def run(self, log: Path) -> Program:
        """Start a context with one process; see ``legacy_peer.py`` for what it understands."""
        environ = {"PYTHONPATH": str(self.home / "site"), "LIBPROCESS_IP": "127.0.0.1"}
        return Program([self.python, "-s", _PROGRAM], environ, log)


def prepare() -> Legacy:
    """Install compactor 0.3.0; done once per machine.

    Raises:
        Unavailable: this machine lacks something.
    """
    legacy = Legacy(home_of("COMPACTOR_LEGACY_HOME", "~/.cache/compactor-legacy"), python27())
    with prepared_once(legacy.home, " ".join(PACKAGES)) as is_missing:
        if is_missing:
            installed = pip(
                legacy.python, "install", "--no-deps", "--target", legacy.home / "site",
                "--upgrade", *PACKAGES,
            )  # fmt: skip
            if installed.returncode:
                raise Unavailable(f"compactor 0.3.0 not installable: {installed.stderr[-300:]}")
    return legacy
