"""Hides packages from a program; Python imports this at its start where its path leads here."""

from __future__ import annotations

import os
import sys

HIDDEN = [name for name in os.environ.get("COMPACTOR_HIDE_PACKAGES", "").split(",") if name]


class _Hider:
    """Stands before all that finds modules."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"{name} is hidden", name=name)


assert not sys.modules.keys() & set(HIDDEN), "imported before it was hidden"
sys.meta_path.insert(0, _Hider)  # type: ignore[arg-type]
