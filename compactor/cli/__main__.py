"""``python -m compactor.cli`` is the ``compactor`` command."""

from __future__ import annotations

from compactor.cli import main

if __name__ == "__main__":
    main()
