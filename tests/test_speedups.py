"""``speedups()`` tells the truth, and the two switches at import do what they say."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys

import pytest

from compactor import Process, Speedups, speedups, wire
from compactor.fields import PARSER
from compactor.loop import new_event_loop
from tests.actors import TIMEOUT
from tests.backends import ROOT, stale

COMPILED = list(dict.fromkeys(wire.MODULES.values()))
PRINT_DECODER = "import compactor; print(compactor.speedups().decoder)"
NO_EXTENSIONS = """
import sys
sys.modules["compactor._speedups.outbox"] = None  # one is enough: all or none
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
        wire.backend("cython")
    except ImportError as error:
        pytest.skip(f"compactor is installed without its extensions: {error}")


@pytest.fixture
def in_place(extensions: None) -> None:
    """The extensions were built in the source tree that these tests are part of."""
    module = wire.backend("cython").encode_message.__self__
    if not (ROOT / "setup.py").is_file() or not module.__file__.startswith(str(ROOT)):
        pytest.skip("the extensions are installed apart from their sources")


def test_every_part_is_named():
    fields = [field.name for field in dataclasses.fields(Speedups)]
    assert fields[:2] == ["loop", "parser"]
    assert sorted(fields[2:]) == sorted(COMPILED)


def test_what_is_named_is_what_is_used():
    found = speedups()
    loop = new_event_loop()
    loop.close()
    assert found.loop == type(loop).__module__.partition(".")[0]
    assert found.parser == PARSER
    for part, module in wire.MODULES.items():
        kind = getattr(found, module)
        assert getattr(wire.chosen, part).__module__ == f"{wire.PACKAGES[kind]}.{module}"


def test_the_answer_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        speedups().decoder = "cython"


def test_printed_it_says_the_parts_of_each_kind():
    parts = dict.fromkeys(COMPILED, "cython") | {"routes": "python"}
    rest = [field.name for field in dataclasses.fields(Speedups)[2:] if field.name != "routes"]
    assert str(Speedups(loop="asyncio", parser="python", **parts)) == (
        f"asyncio: loop; python: parser, routes; cython: {', '.join(rest)}"
    )


def test_no_speedups_at_import_means_none(extensions):
    assert python(PRINT_DECODER, NO="1").stdout == "python\n"
    assert python(PRINT_DECODER, NO="1", REQUIRE="1").stdout == "python\n"
    assert python(PRINT_DECODER, NO="0").stdout == "cython\n"


def test_extensions_are_used_where_they_are(extensions):
    assert python(PRINT_DECODER).stdout == "cython\n"
    assert python(PRINT_DECODER, REQUIRE="1").stdout == "cython\n"


def test_where_one_extension_is_missing_none_is_used():
    assert python(NO_EXTENSIONS + PRINT_DECODER).stdout == "python\n"


def test_required_extensions_that_are_missing_fail_the_import_and_say_what_helps():
    done = python(NO_EXTENSIONS + PRINT_DECODER, REQUIRE="1")
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert message.startswith("ImportError: COMPACTOR_REQUIRE_SPEEDUPS is set, but ")
    assert "install a wheel for this platform, or build from source with a C compiler" in message


def test_extensions_fit_the_sources_beside_them(in_place):
    assert stale() == ""


def test_suite_refuses_extensions_that_were_built_from_other_sources(in_place, tmp_path):
    for name in ("compactor", "tests"):
        skipped = shutil.ignore_patterns("__pycache__", "interop")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skipped)
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    with (tmp_path / "compactor" / "mailbox.py").open("a") as source:
        source.write("# changed since\n")
    environ = {n: v for n, v in os.environ.items() if not n.endswith("_SPEEDUPS")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_frames.py"],
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
    assert type(runtime.live["process"]) is backend.Mailbox
    assert type(runtime.live["process"].outbox) is backend.Outbox
    assert speedups().mailbox == backend.kind
