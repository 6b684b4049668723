"""What a source tree may lack: extensions that are built, and from the sources beside them."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

from compactor import _version
from compactor.runtime import hot_path

_BUILD = "build them with 'python setup.py build_ext --inplace'"


def without_extensions() -> str:
    """Why pure Python alone can be measured here, and what helps; empty if there is more."""
    try:
        hot_path.backend("cython")
    except ImportError as error:
        why = str(error)
    else:
        return ""
    tree = _source_tree()
    if tree is not None and sys.implementation.name == "cpython":
        why = (
            f"compactor is imported from the source tree {tree}, which hides an installed one, and "
            f"its extensions are not built ({why}); {_BUILD}"
        )
    return f"There are no compiled extensions here, so pure Python is all: {why}"


def stale() -> str:
    """What is wrong with extensions that were built in the source tree; empty if nothing is.

    They are used as they are, whatever their sources have become since.
    """
    tree = _source_tree()
    if tree is None:
        return ""
    try:
        encode: Any = hot_path.backend("cython").encode_message
        wanted = runpy.run_path(str(tree / "setup.py"), run_name="setup")["source_digest"]()
    except ImportError:  # of the extensions, or of setuptools, without which nobody builds
        return ""
    built = getattr(encode.__self__, "SOURCES", "unknown")  # of the module of a builtin
    if built == wanted:
        return ""
    return (
        f"the extensions in {tree} were built from other sources (digest {built}) than those "
        f"beside them ({wanted}); {_BUILD}"
    )


def _source_tree() -> Path | None:
    """The folder of the sources that this program runs from, if it does."""
    package = Path(_version.__file__).parent
    has_sources = any((package / "_speedups").rglob("*.pyx"))  # wheels have none
    return package.parent if has_sources and (package.parent / "setup.py").is_file() else None
