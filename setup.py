"""The extensions of compactor._speedups; all else about the package is in pyproject.toml.

``COMPACTOR_NO_SPEEDUPS=1`` builds none.  ``COMPACTOR_REQUIRE_SPEEDUPS=1`` fails where one cannot
be built; without it the result is then the same pure Python wheel.  How they are built is in
build_speedups.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Extension, setup

sys.path.insert(0, str(Path(__file__).parent))  # where builds by PEP 517 do not look

import build_speedups

TWINS = [f"actor.{name}" for name in ("handlers", "outcome", "routes", "scopes")]
TWINS += ["pid", "wire.body_buffer", "wire.encoder"]
"""Written again, in Cython."""

COMPILED_AGAIN = {
    "wire.request_head": "-Os",
    "wire.body_decoder": "-Os",
    "wire.head_pattern": "-O3",
    "wire.request_decoder": "-O3",
    "actor.run_queue": "-Os",
    "net.portal": "-Os",
    "actor.counts": "-Os",
    "actor.mailbox": "-O2",
    "actor.waiter": "-Os",
    "actor.asked": "-O2",
    "actor.asks": "-O2",
    "actor.inquiry": "-O2",
    "outbound.ask_ways": "-O2",
    "outbound.asker": "-O2",
    "actor.dispatches": "-O2",
    "outbound.send_queue": "-O2",
    "outbound.outbox": "-O3",
    "inbound.delivery": "-O3",
    "http.exchange": "-O2",
    "inbound.response_queue": "-Os",
}
"""The module of the package as it is; a .pxd gives it its types.

Each at the level whose code is smallest while no path takes more instructions, for wheels are to
stay small.
"""

DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,  # annotations are for people: the .pxd alone speaks types
    "auto_pickle": False,  # a tenth of the code; what can be pickled says how
    "binding": False,
    "boundscheck": False,
    "initializedcheck": False,
    "wraparound": False,
}


def source_digest() -> str:
    """What tells the sources of all extensions from any others."""
    return build_speedups.source_digest(COMPILED_AGAIN)


def extensions() -> list[Extension]:
    sources = {name: f"compactor/_speedups/{name.replace('.', '/')}.pyx" for name in TWINS}
    sources |= {name: f"compactor/{name.replace('.', '/')}.py" for name in COMPILED_AGAIN}
    wanted = [Extension(f"compactor._speedups.{name}", [path]) for name, path in sources.items()]
    for extension in wanted:
        level = COMPILED_AGAIN.get(extension.name.removeprefix("compactor._speedups."), "-O3")
        extension.extra_compile_args = [] if level == "-O3" else [level]
    return build_speedups.translated(wanted, source_digest(), DIRECTIVES)


if __name__ == "__main__":  # a source tree also asks this file for the digest
    setup(ext_modules=extensions(), cmdclass={"build_ext": build_speedups.BuildAllOrNone})
