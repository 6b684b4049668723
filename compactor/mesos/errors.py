"""What can go wrong between a program and the masters that ZooKeeper knows."""

from __future__ import annotations

from compactor.errors import CompactorError


class MasterUrlError(CompactorError, ValueError):
    """Where the master is to be found is written wrongly; the text never shows credentials."""


class MasterInfoError(CompactorError, ValueError):
    """What stands in the record of a master is none, or a master cannot be written as one."""


class MasterAccessDenied(CompactorError, PermissionError):
    """ZooKeeper refuses what a detector or a contender needs, by its access control lists."""


class MasterTimeout(CompactorError, TimeoutError):
    """No master, or no ZooKeeper, or no leadership within the time that was given."""


class CandidacyLost(CompactorError):
    """A master that contended leads no more, or may lead no more, or was never elected."""
