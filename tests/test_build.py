"""What setup.py builds: with a compiler, without one, with one that fails, and with each switch.

Builds go the way of pip and of PEP 517, in a copy of the source tree.  Only one of them really
compiles; the compilers of the others are shell scripts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from compactor import wire

ROOT = Path(__file__).parents[1]
SECONDS = 600
WHEEL_BYTES = 1024 * 1024

NOT_OF_THE_SOURCE = shutil.ignore_patterns(
    ".[!c]*", "build", "dist", "*.egg-info", "__pycache__", "*.so", "*.pyd", "_build"
)
EXTENSIONS = {
    f"compactor/_speedups/{module}{sysconfig.get_config_var('EXT_SUFFIX')}"
    for module in wire.MODULES.values()
}
COMPILES_ALL_BUT_OUTBOX = """#!/bin/sh
case "$*" in *outbox*) echo "cannot compile $*" >&2; exit 1;; esac
while [ $# -gt 1 ]; do [ "$1" = -o ] && echo compiled >"$2"; shift; done
"""

pytestmark = [
    pytest.mark.build,
    pytest.mark.timeout(SECONDS),
    pytest.mark.skipif(
        not (ROOT / "setup.py").is_file(), reason="the tests run without the source tree"
    ),
    pytest.mark.skipif(sys.platform == "win32", reason="the compilers here are shell scripts"),
    pytest.mark.skipif(
        sys.implementation.name != "cpython", reason="extensions are for CPython alone"
    ),
]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the Python of an environment that has what builds need; returns what was printed."""
    home = tmp_path_factory.mktemp("builder") / "venv"
    subprocess.run([sys.executable, "-m", "venv", home], check=True, timeout=SECONDS)

    def run(*args: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        kept = {
            n: v
            for n, v in os.environ.items()
            if n not in ("CC", "PYTHONPATH") and not n.endswith("_SPEEDUPS")
        }
        return subprocess.run(
            [home / "bin" / "python", *args],
            env={**kept, **environ},
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )

    required = re.search(r"^requires = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.M)
    assert required
    done = run("-m", "pip", "install", "-q", "build", *json.loads(required[1]))
    if done.returncode:
        pytest.skip(f"no index to install build tools from: {done.stdout[-300:]}")
    return run


@pytest.fixture(scope="module")
def sdist(python: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of the source tree."""
    tree = tmp_path_factory.mktemp("tree") / "compactor"
    shutil.copytree(ROOT, tree, ignore=NOT_OF_THE_SOURCE)
    out = tmp_path_factory.mktemp("sdist")
    done = python("-m", "build", "-n", "--sdist", "-o", out, tree)
    assert done.returncode == 0, done.stdout
    (found,) = out.iterdir()
    return found


@pytest.fixture(scope="module")
def tree(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked: all that a build has to do with."""
    home = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(home)
    (found,) = home.iterdir()
    return found


@pytest.fixture
def build(python: Run, tree: Path, tmp_path: Path) -> Callable[..., Path]:
    """Builds a wheel as pip does, in an environment of the given variables."""

    def wheel(**environ: str) -> Path:
        for compiled in (tree / "build").glob("[!c]*"):  # the translation to C may stay
            shutil.rmtree(compiled)
        pip = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation")
        done = python(*pip, "-w", tmp_path, tree, **environ)
        if done.returncode:
            raise ChildProcessError(done.stdout)
        (found,) = tmp_path.glob("*.whl")
        return found

    return wheel


@pytest.fixture
def partial_compiler(tmp_path: Path) -> str:
    """A compiler that compiles all extensions but one, which is not the first."""
    compiler = tmp_path / "cc"
    compiler.write_text(COMPILES_ALL_BUT_OUTBOX)
    compiler.chmod(0o755)
    return str(compiler)


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def assert_pure(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    names = names_in(wheel)
    assert {Path(name).suffix for name in names if name.startswith("compactor/")} == {
        ".py",
        ".typed",
    }
    (tags,) = (name for name in names if name.endswith(".dist-info/WHEEL"))
    with zipfile.ZipFile(wheel) as archive:
        assert "Root-Is-Purelib: true" in archive.read(tags).decode()


def test_sdist_has_all_sources_and_nothing_compiled(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = {path.relative_to(ROOT).as_posix() for path in (ROOT / "compactor").rglob("*.p*")}
    sources = {name for name in tracked if name.endswith((".py", ".pyx", ".pxd", ".typed"))}
    others = {"setup.py", "pyproject.toml", ".ci/build-requirements.txt", "README.md", "LICENSE"}
    assert sources | others <= names
    assert not [name for name in names if name.endswith((".c", ".so", ".pyd", ".pyc"))]


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_wheel_has_every_extension_stripped_and_no_source_of_one(
    build: Callable[..., Path], python: Run, tmp_path: Path
) -> None:
    wheel = build(COMPACTOR_REQUIRE_SPEEDUPS="1")
    assert "-py3-" not in wheel.name
    names = names_in(wheel)
    assert {name for name in names if name.startswith("compactor/_speedups/")} == {
        "compactor/_speedups/__init__.py",
        *EXTENSIONS,
    }
    assert not [name for name in names if name.endswith((".c", ".pyx", ".pxd"))]
    assert wheel.stat().st_size < WHEEL_BYTES
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    if sys.platform == "linux":
        for name in EXTENSIONS:
            content = (site / name).read_bytes()
            assert b".debug_info" not in content
            assert b".symtab" not in content
    done = python(
        "-c",
        "from compactor import wire; print(wire.chosen.kind)",
        PYTHONPATH=str(site),
        COMPACTOR_REQUIRE_SPEEDUPS="1",
    )
    assert done.stdout == "cython\n"


def test_no_speedups_builds_the_pure_wheel(build: Callable[..., Path]) -> None:
    assert_pure(build(COMPACTOR_NO_SPEEDUPS="1"))


@pytest.mark.parametrize("compiler", ["/bin/false", "/nowhere/cc"])
def test_without_a_working_compiler_the_pure_wheel_is_built(
    build: Callable[..., Path], compiler: str
) -> None:
    assert_pure(build(CC=compiler))


def test_where_one_extension_fails_there_is_none(
    build: Callable[..., Path], partial_compiler: str
) -> None:
    assert_pure(build(CC=partial_compiler))


@pytest.mark.parametrize("broken", ["all", "one"])
def test_required_speedups_that_fail_fail_the_build(
    build: Callable[..., Path], partial_compiler: str, broken: str
) -> None:
    compiler = partial_compiler if broken == "one" else "/bin/false"
    with pytest.raises(ChildProcessError, match="returned non-zero exit status"):
        build(CC=compiler, COMPACTOR_REQUIRE_SPEEDUPS="1")


def test_editable_install_without_a_compiler_is_pure_and_clears_old_extensions(
    python: Run, tree: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "tree"
    shutil.copytree(tree, copy, ignore=shutil.ignore_patterns("build"))
    for name in EXTENSIONS:
        (copy / name).write_text("of an earlier build")
    pip = ("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation")
    done = python(*pip, "--target", tmp_path / "site", "-e", copy, CC="/bin/false")
    assert done.returncode == 0, done.stdout
    assert not list(copy.rglob("*.so"))
    assert list((tmp_path / "site").glob("*compactor*"))
