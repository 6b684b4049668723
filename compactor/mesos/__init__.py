"""Masters of Mesos that are found in ZooKeeper, and announced there.

``records.py`` knows what stands in the folder of the masters, ``session.py`` is one session with
ZooKeeper: kazoo's threads stay in it, and hand their results to the loop.  On it stand the detector
and the contender.
"""

from __future__ import annotations

from compactor.mesos.contender import MasterContender
from compactor.mesos.detector import MasterDetector
from compactor.mesos.errors import (
    CandidacyLost,
    MasterAccessDenied,
    MasterInfoError,
    MasterTimeout,
    MasterUrlError,
)
from compactor.mesos.master_info import MasterInfo

__all__ = [
    "CandidacyLost",
    "MasterAccessDenied",
    "MasterContender",
    "MasterDetector",
    "MasterInfo",
    "MasterInfoError",
    "MasterTimeout",
    "MasterUrlError",
]
