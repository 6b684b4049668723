"""A pytest plugin: the suite as on a platform that has no build of some packages.

``COMPACTOR_HIDE_PACKAGES=httptools,uvloop python -m pytest -p tests.hidden_packages`` runs without
these two, also in the Python programs that tests start.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.hidden_packages.sitecustomize import HIDDEN

os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)


def pytest_report_header(config: pytest.Config) -> str:
    return f"hidden packages: {', '.join(HIDDEN) or 'none'}"
