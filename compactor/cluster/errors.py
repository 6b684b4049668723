"""What can go wrong with names, groups and leaders."""

from __future__ import annotations

from compactor.errors import CompactorError


class ClusterError(CompactorError):
    """The base of the errors of ``compactor.cluster``."""


class ClusterUnreachable(ClusterError, ConnectionError):
    """The engine cannot be reached, or does not answer in its time; it may be tried again."""


class ClusterRefused(ClusterError):
    """The engine refuses what was asked: credentials, rights, or a version that lacks something.

    Trying again without a change does not help.
    """


class SessionExpired(ClusterError):
    """The engine has ended the session, and dropped all that it held."""


class NobodyFound(ClusterError, TimeoutError):
    """Nobody bears a name, or leads, and the time to wait is over."""


class LeadershipLost(ClusterError):
    """Leadership is lost, or may be; raised in the block of ``lead``."""


class Fenced(ClusterError):
    """A term is older than one that was accepted: whoever sent it leads no more.

    Args:
        message: which term, and which one was accepted.
        term: the old one.
        newest: the newest that was accepted.
    """

    def __init__(self, message: str, term: int, newest: int) -> None:
        super().__init__(message)
        self.term = term
        self.newest = newest
