"""Programs in a network of their own, in which they may set routes and cut cables."""

from __future__ import annotations

import subprocess
import sys

import pytest

_APART = ("unshare", "--map-root-user", "--net")
_NEEDED = "ip link set lo up && echo 1 >/proc/sys/net/ipv4/tcp_retries2"


def run_in_own_network(program: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program; the test skips where a user may not make networks."""
    try:
        subprocess.run([*_APART, "sh", "-c", _NEEDED], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a network of one's own needs Linux, iproute2, user namespaces: {error}")
    return subprocess.run(
        [*_APART, sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
