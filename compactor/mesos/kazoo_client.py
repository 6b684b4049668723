"""kazoo's client of ZooKeeper, as a session here needs it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from compactor.errors import MissingPackage
from compactor.mesos.urls import ZooKeeperUrl

_MOST_SECONDS_BETWEEN_DIALS = 1.0


class _WithoutCredentials(logging.Filter):
    """kazoo tells every request in its lines for debugging, that with the password too."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                "Auth(***)" if type(arg).__name__ == "Auth" else arg for arg in record.args
            )
        return True


_log = logging.getLogger("compactor.kazoo")
_log.setLevel(logging.ERROR)  # a server that is away makes a line per dial; a session says it once
_log.addFilter(_WithoutCredentials())


def new_client(url: ZooKeeperUrl, seconds: float, negotiated: Callable[[float], None]) -> Any:
    """A client that is not started yet, and dials for ever once it is.

    Args:
        url: where.
        seconds: the session that is asked for.
        negotiated: called in a thread of kazoo with what the server grants, in seconds.

    Raises:
        MissingPackage: there is no kazoo.
    """
    try:
        from kazoo.client import KazooClient
    except ImportError:
        raise MissingPackage(
            "ZooKeeper is asked by the package kazoo: pip install 'compactor[zookeeper]'"
        ) from None
    client: Any = KazooClient(
        hosts=url.hosts,
        timeout=seconds,
        auth_data=[("digest", url.credentials)] if url.credentials else None,
        connection_retry={
            "max_tries": -1,
            "delay": 0.05,
            "max_delay": _MOST_SECONDS_BETWEEN_DIALS,
        },
        logger=_log,
    )
    _mend(client._connection, negotiated)
    return client


def _mend(connection: Any, negotiated: Callable[[float], None]) -> None:
    """Have a connection tell its session's time, and survive servers that are no ZooKeeper, whose
    answers would end its thread.
    """
    from kazoo.exceptions import AuthFailedError, ConnectionDropped, SessionExpiredError

    connect = connection._connect
    timed_out = connection.handler.timeout_exception
    own = (ConnectionDropped, SessionExpiredError, AuthFailedError, timed_out)

    def connect_and_tell(*args: Any) -> Any:
        try:
            read_timeout, connect_timeout = connect(*args)
        except own:
            raise
        except Exception as error:
            raise ConnectionDropped(f"what answers is no ZooKeeper: {error!r}") from error
        negotiated(read_timeout * 1.5 / 1000)  # it is two thirds of the session
        return read_timeout, connect_timeout

    connection._connect = connect_and_tell
