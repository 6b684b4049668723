"""What setup.py builds: with a compiler, without one, with one that fails, and with each switch.

Builds go the way of PEP 517, in a copy of the source tree.  Only one of them really compiles, as
fast as its compiler can; the compilers of the others are shell scripts.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from compactor.cli.source_tree import stale
from compactor.runtime import hot_path

ROOT = Path(__file__).parents[1]
SECONDS = 600
WHEEL_BYTES = 1700 * 1024

NOT_OF_THE_SOURCE = shutil.ignore_patterns(
    ".[!c]*", "build", "dist", "*.egg-info", "__pycache__", "*.so", "*.pyd", "_build"
)
COMPILED = ROOT / "compactor" / "_speedups"
TRANSLATED = ROOT / "build" / "cython"
EXTENSIONS = {
    path.relative_to(ROOT).with_suffix(sysconfig.get_config_var("EXT_SUFFIX")).as_posix()
    for path in COMPILED.rglob("*.p[yx][xd]")
}
PACKAGES = {path.relative_to(ROOT).as_posix() for path in COMPILED.rglob("__init__.py")}
CALL_HOOK = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""
COMPILES_FAST = """#!/bin/sh
exec cc "$@" -O0
"""
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

Build = Callable[..., Path]


def python(*args: str | Path, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run this Python without what says how to build; returns what was printed."""
    kept = {
        n: v
        for n, v in os.environ.items()
        if n not in ("CC", "PYTHONPATH") and not n.endswith("_SPEEDUPS")
    }
    return subprocess.run(
        [sys.executable, *args],
        env={**kept, **environ},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )


def call_hook(name: str, tree: Path, out: Path, **environ: str) -> Path:
    """Have the build backend make something of a tree; returns what it made."""
    done = python("-c", CALL_HOOK, name, out, cwd=tree, **environ)
    if done.returncode:
        raise ChildProcessError(done.stdout)
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of the source tree."""
    pytest.importorskip("Cython", reason="Cython is not installed")
    tree = tmp_path_factory.mktemp("tree") / "compactor"
    shutil.copytree(ROOT, tree, ignore=NOT_OF_THE_SOURCE)
    if TRANSLATED.is_dir():  # it is used if it is of these sources
        shutil.copytree(TRANSLATED, tree / TRANSLATED.relative_to(ROOT))
    return call_hook("build_sdist", tree, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def tree(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked: all that a build has to do with."""
    home = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # type: ignore[assignment]
        archive.extractall(home)
    (found,) = home.iterdir()
    return found


@pytest.fixture(scope="module")
def build(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Builds a wheel, in an environment of the given variables."""

    def wheel(**environ: str) -> Path:
        for compiled in (tree / "build").glob("[!c]*"):  # the translation to C may stay
            shutil.rmtree(compiled)
        return call_hook("build_wheel", tree, tmp_path_factory.mktemp("wheel"), **environ)

    return wheel


def compiler(directory: Path, program: str) -> str:
    """A program that compiles."""
    path = directory / "compiler"
    path.write_text(program)
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def compiled_wheel(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel with extensions."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    fast = compiler(tmp_path_factory.mktemp("fast"), COMPILES_FAST)
    return build(CC=fast, COMPACTOR_REQUIRE_SPEEDUPS="1")


@pytest.fixture
def partial_compiler(tmp_path: Path) -> str:
    """A compiler that compiles all extensions but one, which is not the first."""
    return compiler(tmp_path, COMPILES_ALL_BUT_OUTBOX)


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
    others = {"setup.py", "build_speedups.py", "pyproject.toml", "README.md", "LICENSE"}
    others.add(".ci/build-requirements.txt")
    assert sources | others <= names
    assert not [name for name in names if name.endswith((".c", ".so", ".pyd", ".pyc"))]


def is_stripped(extension: bytes) -> bool:
    return sys.platform != "linux" or not (b".debug_info" in extension or b".symtab" in extension)


@pytest.mark.slow  # compiles everything
def test_wheel_has_every_extension_stripped_and_no_source_of_one(
    compiled_wheel: Path, tmp_path: Path
) -> None:
    assert "-py3-" not in compiled_wheel.name
    names = names_in(compiled_wheel)
    assert {name for name in names if name.startswith("compactor/_speedups/")} == {
        *PACKAGES,
        *EXTENSIONS,
    }
    parts = {f"compactor/_speedups/{name.replace('.', '/')}" for name in hot_path.MODULES.values()}
    assert parts <= {name.partition(".")[0] for name in EXTENSIONS}
    assert not [name for name in names if name.endswith((".c", ".pyx", ".pxd"))]
    site = tmp_path / "site"
    with zipfile.ZipFile(compiled_wheel) as archive:
        archive.extractall(site)
    assert all(is_stripped((site / name).read_bytes()) for name in EXTENSIONS)
    done = python(
        "-c",
        "from compactor.runtime import hot_path; print(hot_path.__file__, hot_path.chosen.kind)",
        cwd=tmp_path,
        PYTHONPATH=str(site),
        COMPACTOR_REQUIRE_SPEEDUPS="1",
    )
    assert done.stdout == f"{site / 'compactor' / 'runtime' / 'hot_path.py'} cython\n"


@pytest.mark.slow
def test_a_wheel_with_the_extensions_beside_the_sources_is_small(compiled_wheel: Path) -> None:
    """These were compiled as those that are published are; a tree of another build skips."""
    if why := stale():
        pytest.skip(why)
    if not all((ROOT / name).is_file() for name in EXTENSIONS):
        pytest.skip("no extensions beside the sources")
    wheel = io.BytesIO()
    with (
        zipfile.ZipFile(compiled_wheel) as built,
        zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for name in built.namelist():
            beside = ROOT / name if name in EXTENSIONS else None
            content = beside.read_bytes() if beside else built.read(name)
            small.writestr(name, content)
            assert not beside or is_stripped(content)
    assert len(wheel.getvalue()) < WHEEL_BYTES


def test_no_speedups_builds_the_pure_wheel(build: Build) -> None:
    assert_pure(build(COMPACTOR_NO_SPEEDUPS="1"))


@pytest.mark.parametrize("compiler", ["/bin/false", "/nowhere/cc"])
def test_without_a_working_compiler_the_pure_wheel_is_built(build: Build, compiler: str) -> None:
    assert_pure(build(CC=compiler))


def test_where_one_extension_fails_there_is_none(build: Build, partial_compiler: str) -> None:
    assert_pure(build(CC=partial_compiler))


@pytest.mark.parametrize("broken", ["all", "one"])
def test_required_speedups_that_fail_fail_the_build(
    build: Build, partial_compiler: str, broken: str
) -> None:
    compiler = partial_compiler if broken == "one" else "/bin/false"
    with pytest.raises(ChildProcessError, match="returned non-zero exit status"):
        build(CC=compiler, COMPACTOR_REQUIRE_SPEEDUPS="1")


def test_editable_install_without_a_compiler_is_pure_and_clears_old_extensions(
    tree: Path, tmp_path: Path
) -> None:
    copy, out = tmp_path / "tree", tmp_path / "out"
    shutil.copytree(tree, copy, ignore=shutil.ignore_patterns("lib*", "temp*", "bdist*"))
    for name in EXTENSIONS:
        (copy / name).write_text("of an earlier build")
    out.mkdir()
    wheel = call_hook("build_editable", copy, out, CC="/bin/false")
    assert not list(copy.rglob("*.so"))
    assert [name for name in names_in(wheel) if name.endswith(".pth")]
