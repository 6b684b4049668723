"""The ``compactor`` command; it needs the extra ``compactor[cli]``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; without click, say what to install."""
    try:
        from compactor.cli.group import compactor
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit(
            "compactor: the command needs click; install it with: pip install 'compactor[cli]'"
        )
    except KeyboardInterrupt:
        sys.exit(130)
    compactor(prog_name="compactor")
