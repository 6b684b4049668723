"""Which kinds of compactor there are to measure here: compiled, pure Python, or only the latter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

PURE = "compactor, pure Python"
PURE_ENVIRON = {"COMPACTOR_NO_SPEEDUPS": "1"}

_SHOW = """
import compactor
print(sorted(getattr(compactor, "speedups", dict)().items()))
"""


def backends() -> dict[str, Mapping[str, str]]:
    """The environment variables of each backend, by its name; the fastest first.

    Whether compiled code is there shows in what `compactor.speedups()` says with it and without.
    """
    if _speedups({}) == _speedups(PURE_ENVIRON):
        return {PURE: PURE_ENVIRON}
    return {"compactor": {}, PURE: PURE_ENVIRON}


def _speedups(environ: Mapping[str, str]) -> str:
    command = [sys.executable, "-c", _SHOW]
    return subprocess.check_output(command, env={**os.environ, **environ}, text=True)
