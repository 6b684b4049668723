"""Workers: OS processes that each run a part of one program, on a context and a core of their own.

``workers.py`` starts them, keeps them running and makes pools of what lives in them; ``member.py``
is one of them as its parent knows it, ``child.py`` what runs in it.  Between the two is a pipe,
whose messages ``lines.py`` writes and reads; it breaks when either ends, so no worker outlives its
parent.  Messages of actors never take it: they go from port to port, as between any programs.
"""

from compactor.workers.plan import Worker
from compactor.workers.workers import Workers, WorkersFailed

__all__ = ["Worker", "Workers", "WorkersFailed"]
