"""How setup.py builds the extensions: all or none of them, and from which sources they know."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext

FLAGS = {
    # No tables of how to unwind the stack: there are no exceptions of C++ here.
    "linux": (["-O3", "-g0", "-fno-asynchronous-unwind-tables"], ["-Wl,--strip-all"]),
    "darwin": (["-O3", "-g0"], ["-Wl,-S", "-Wl,-x"]),  # no debug and no local symbols
    "msvc": ([], ["/Brepro"]),  # optimised and without symbols by default, but not without a date
}
"""Of the compiler and of the linker: small, and the same bytes from the same sources."""


def is_set(name: str) -> bool:
    return os.environ.get(name, "") not in ("", "0")


def flags(kind: str) -> tuple[list[str], list[str]]:
    """Flags of the compiler and of the linker; docs/development.md tells about sanitizers."""
    sanitizers = os.environ.get("COMPACTOR_SANITIZE", "")
    if not sanitizers:
        return FLAGS.get(kind, ([], []))
    chosen = [f"-fsanitize={sanitizers}", f"-fno-sanitize-recover={sanitizers}"]
    return ["-O1", "-g", "-fno-omit-frame-pointer", *chosen], chosen


def source_digest(again: Iterable[str]) -> str:
    """What tells the sources of all extensions from any others.

    Args:
        again: the modules of the package that are compiled as they are.
    """
    here = Path(__file__).parent / "compactor"
    twins = [path for path in (here / "_speedups").rglob("*.p*") if path.suffix in (".pyx", ".pxd")]
    digest = hashlib.sha256()
    for path in sorted([*twins, *(here / f"{name.replace('.', '/')}.py" for name in again)]):
        text = path.read_bytes().replace(b"\r\n", b"\n")
        name = path.relative_to(here).as_posix()
        digest.update(b"%b %d\n%b" % (name.encode(), len(text), text))
    return f"x{digest.hexdigest()[:16]}"  # a C identifier, which needs no quotes anywhere


def translated(
    wanted: list[Extension], digest: str, directives: dict[str, object]
) -> list[Extension]:
    """The extensions in C: none where there is no Cython, unless they are required.

    Args:
        wanted: the extensions in Python and Cython.
        digest: of their sources; the extensions tell it.
        directives: of Cython.
    """
    required = is_set("COMPACTOR_REQUIRE_SPEEDUPS")
    by_itself = sys.implementation.name != "cpython"  # PyPy compiles, and better than we do
    if is_set("COMPACTOR_NO_SPEEDUPS") or (by_itself and not required):
        return []
    try:
        import Cython
        from Cython.Build import cythonize
        from Cython.Compiler import Options
    except ImportError:
        if required:
            raise
        return []
    for extension in wanted:
        extension.define_macros = [("COMPACTOR_SOURCES", digest)]
    Options.docstrings = False  # which are those of the modules beside them
    last = Path("build/cython/translated")  # says from what
    what = f"{digest} {Cython.__version__} {directives}"
    made = cythonize(
        wanted,
        build_dir="build/cython",
        compiler_directives=directives,
        # A changed .pxd changes the modules that it is imported in.
        force=not (last.is_file() and last.read_text() == what),
        quiet=True,
    )
    last.write_text(what)
    return list(made)


class BuildAllOrNone(build_ext):
    """Extensions of two builds would not fit together: if one fails, there shall be none."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            if is_set("COMPACTOR_REQUIRE_SPEEDUPS"):
                raise
            print(f"compactor is built in pure Python, for its extensions fail: {error}")
            self._make_pure()

    def build_extensions(self) -> None:
        kind = "msvc" if self.compiler.compiler_type == "msvc" else sys.platform
        for extension in self.extensions:
            ours, extension.extra_link_args = flags(kind)
            extension.extra_compile_args = [*ours, *extension.extra_compile_args]
        if self.parallel is None:
            self.parallel = os.cpu_count()
        super().build_extensions()

    def _make_pure(self) -> None:
        for extension in self.extensions:
            for directory in (self.build_lib, "."):
                built = Path(directory, self.get_ext_filename(extension.name))
                built.unlink(missing_ok=True)
        self.extensions = []
        self.distribution.ext_modules = None
        wheel = self.distribution.get_command_obj("bdist_wheel", create=False)
        if wheel is not None:
            wheel.root_is_pure = True
        shutil.rmtree(self.build_temp, ignore_errors=True)
