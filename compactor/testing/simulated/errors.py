"""What can go wrong with a simulation itself."""

from __future__ import annotations

from compactor.errors import CompactorError


class SimulationError(CompactorError, RuntimeError):
    """Something was asked for that a simulation cannot do, or nothing can go on in it."""
