"""curl, the client that operators have."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def curl(*args: str) -> str:
    """What curl prints; the test is skipped where there is none."""
    return curl_bytes(*args).decode()


def curl_bytes(*args: str) -> bytes:
    """The same, as it came."""
    found = shutil.which("curl")
    if found is None:
        pytest.skip("curl is not installed")
    command = [found, "-sS", "--noproxy", "*", "-m", "20", *args]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
