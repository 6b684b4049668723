"""Names, groups and leaders: processes find each other through engines that operators already run.

A :class:`Cluster` has one session with an engine after the other (``sessions.py``), each as long as
its :class:`Lease` is valid (``lease.py``).  What is registered (``registering.py``) and led
(``leading.py``) is a record at the engine, which it drops with the session.  What is looked up is
followed from then on (``groups.py``).  Engines (``engines/``) know nothing of processes, and the
rest knows nothing of engines but :class:`Engine`.
"""

from __future__ import annotations

from compactor.cluster.cluster import Cluster
from compactor.cluster.engine import Engine, Record
from compactor.cluster.engines.memory_server import MemoryServer
from compactor.cluster.errors import (
    ClusterError,
    ClusterRefused,
    ClusterUnreachable,
    Fenced,
    LeadershipLost,
    NobodyFound,
    SessionExpired,
)
from compactor.cluster.records import Leader, Member
from compactor.cluster.terms import Fence, Term

__all__ = [
    "Cluster",
    "ClusterError",
    "ClusterRefused",
    "ClusterUnreachable",
    "Engine",
    "Fence",
    "Fenced",
    "Leader",
    "LeadershipLost",
    "Member",
    "MemoryServer",
    "NobodyFound",
    "Record",
    "SessionExpired",
    "Term",
]
