"""``speedups()`` tells the truth, and the two switches at import do what they say."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import shutil
import subprocess
import sys

import pytest

from compactor import Process, Speedups, speedups
from compactor.cli.source_tree import stale
from compactor.net.event_loop import new_event_loop
from compactor.runtime import hot_path
from compactor.wire.fields import PARSER
from tests.actors import TIMEOUT
from tests.backends import ROOT

PRINT_BACKEND = "import compactor; print(compactor.speedups().backend)"
NO_EXTENSIONS = """
import sys
sys.modules["compactor._speedups.outbound.outbox"] = None  # one is enough: all or none
"""
STALE_EXTENSIONS = """
import sys, types
sys.modules["compactor._speedups.outbound.outbox"] = types.ModuleType("outbox")  # without an Outbox
"""


def python(program: str, **switches: str) -> subprocess.CompletedProcess[str]:
    environ = {n: v for n, v in os.environ.items() if not n.endswith("_SPEEDUPS")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**environ, **{f"COMPACTOR_{name}_SPEEDUPS": v for name, v in switches.items()}},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def extensions() -> None:
    """This installation has the extensions, whether or not they are switched off."""
    try:
        hot_path.backend("cython")
    except ImportError as error:
        pytest.skip(f"compactor is installed without its extensions: {error}")


@pytest.fixture
def in_place(extensions: None) -> None:
    """The extensions were built in the source tree that these tests are part of."""
    module = hot_path.backend("cython").encode_message.__self__
    if not (ROOT / "setup.py").is_file() or not module.__file__.startswith(str(ROOT)):
        pytest.skip("the extensions are installed apart from their sources")


def test_what_is_named_is_what_is_used():
    found = speedups()
    loop = new_event_loop()
    loop.close()
    assert found.loop == type(loop).__module__.partition(".")[0]
    assert found.parser == PARSER
    for part, module in hot_path.MODULES.items():
        package = hot_path.PACKAGES[found.backend]
        assert getattr(hot_path.chosen, part).__module__ == f"{package}.{module}"


def test_the_answer_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        speedups().backend = "cython"


def test_printed_it_says_what_is_in_use():
    assert str(Speedups("asyncio", "python", "cython")) == (
        "loop: asyncio, parser: python, backend: cython"
    )


def test_no_speedups_at_import_means_none(extensions):
    assert python(PRINT_BACKEND, NO="1").stdout == "python\n"
    assert python(PRINT_BACKEND, NO="1", REQUIRE="1").stdout == "python\n"
    assert python(PRINT_BACKEND, NO="0").stdout == "cython\n"


def test_extensions_are_used_where_they_are(extensions):
    assert python(PRINT_BACKEND).stdout == "cython\n"
    assert python(PRINT_BACKEND, REQUIRE="1").stdout == "cython\n"


def test_where_one_extension_is_missing_none_is_used():
    assert python(NO_EXTENSIONS + PRINT_BACKEND).stdout == "python\n"


def test_required_extensions_that_are_missing_fail_the_import_and_say_what_helps():
    done = python(NO_EXTENSIONS + PRINT_BACKEND, REQUIRE="1")
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert message.startswith("ImportError: COMPACTOR_REQUIRE_SPEEDUPS is set, but ")
    assert "install a wheel for this platform, or build from source with a C compiler" in message


def test_extensions_that_do_not_fit_fail_the_import_and_say_what_helps(extensions):
    done = python(STALE_EXTENSIONS + PRINT_BACKEND)
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert "do not fit its modules (module 'outbox' has no attribute 'Outbox')" in message
    assert "python setup.py build_ext --inplace" in message
    assert python(STALE_EXTENSIONS + PRINT_BACKEND, NO="1").stdout == "python\n"


def test_extensions_fit_the_sources_beside_them(in_place):
    assert stale() == ""


def test_suite_refuses_extensions_that_were_built_from_other_sources(in_place, tmp_path):
    for name in ("compactor", "tests"):
        skipped = shutil.ignore_patterns("__pycache__", "interop")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skipped)
    for name in ("setup.py", "build_speedups.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    with (tmp_path / "compactor" / "actor" / "mailbox.py").open("a") as source:
        source.write("# changed since\n")
    environ = {n: v for n, v in os.environ.items() if not n.endswith("_SPEEDUPS")}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "tests/wire/test_frames.py",
        ],
        cwd=tmp_path,
        env={**environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "were built from other sources" in done.stderr
    assert "python setup.py build_ext --inplace" in done.stderr


def test_contexts_of_a_test_are_made_of_its_backend(context, backend):
    process = Process("process")
    context.spawn(process)
    context.dispatch(process.pid, lambda: process.send(process.pid, "nothing")).result(TIMEOUT)
    runtime = context._runtime
    assert type(runtime.run_queue) is backend.RunQueue
    assert type(runtime.registry.live["process"]) is backend.Mailbox
    assert type(runtime.registry.live["process"].outbox) is backend.Outbox
    assert speedups().backend == backend.kind


def test_what_freezes_programs_sees_all_modules_of_both_backends():
    imported = set(re.findall(r"^    import ([\w.]+)", inspect.getsource(hot_path), re.MULTILINE))
    for package in hot_path.PACKAGES.values():
        assert {f"{package}.{module}" for module in hot_path.MODULES.values()} <= imported
