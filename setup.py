"""Builds the extensions of compactor._speedups; all else about the package is in pyproject.toml.

``COMPACTOR_NO_SPEEDUPS=1`` builds none.  ``COMPACTOR_REQUIRE_SPEEDUPS=1`` fails where one cannot
be built; without it the result is then the same pure Python wheel.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

TWINS = ("bodies", "frames", "routes")
"""Written again, in Cython."""

COMPILED_AGAIN = ("heads", "decoder", "run_queue", "mailbox", "outflow", "outbox", "inbound")
"""The module of the package as it is; a .pxd gives it its types."""

DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,  # annotations are for people: the .pxd alone speaks types
    "binding": False,
    "boundscheck": False,
    "initializedcheck": False,
    "wraparound": False,
}

FLAGS = {
    "linux": (["-O3", "-g0"], ["-Wl,--strip-all"]),
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


def source_digest() -> str:
    """What tells the sources of all extensions from any others."""
    here = Path(__file__).parent / "compactor"
    twins = [path for path in (here / "_speedups").iterdir() if path.suffix in (".pyx", ".pxd")]
    digest = hashlib.sha256()
    for path in sorted([*twins, *(here / f"{name}.py" for name in COMPILED_AGAIN)]):
        text = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(b"%b %d\n%b" % (path.name.encode(), len(text), text))
    return f"x{digest.hexdigest()[:16]}"  # a C identifier, which needs no quotes anywhere


def extensions() -> list[Extension]:
    required = is_set("COMPACTOR_REQUIRE_SPEEDUPS")
    by_itself = sys.implementation.name != "cpython"  # PyPy compiles, and better than we do
    if is_set("COMPACTOR_NO_SPEEDUPS") or (by_itself and not required):
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        if required:
            raise
        return []
    sources = {name: f"compactor/_speedups/{name}.pyx" for name in TWINS}
    sources.update((name, f"compactor/{name}.py") for name in COMPILED_AGAIN)
    macros = [("COMPACTOR_SOURCES", source_digest())]
    wanted = [
        Extension(f"compactor._speedups.{name}", [path], define_macros=macros)
        for name, path in sources.items()
    ]
    return list(
        cythonize(
            wanted,
            build_dir="build/cython",
            compiler_directives=DIRECTIVES,
            force=True,  # a changed .pxd changes the modules that it is imported in
            quiet=True,
        )
    )


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
            extension.extra_compile_args, extension.extra_link_args = flags(kind)
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


if __name__ == "__main__":  # a test imports this file, for the digest
    setup(ext_modules=extensions(), cmdclass={"build_ext": BuildAllOrNone})
