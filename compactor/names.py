"""Host names to addresses, each looked up in a thread of its own.

Event loops look names up in a few threads that they share.  A name server that does not answer
would hold up all other names there, and the end of the loop and of the program as well.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
from typing import Any

_Found = concurrent.futures.Future[list[Any]]

_lookups: dict[tuple[str, int], _Found] = {}
_lock = threading.Lock()


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the order in which they are to be tried.

    Lookups of one name at the same time are one, whichever loops they are made on.  One that
    nobody waits for any more goes on until the system gives it up; nothing waits for it.

    Raises:
        OSError, UnicodeError: it has none.
    """
    name = (host, port)
    with _lock:
        found = _lookups.get(name)
        is_new = found is None
        if found is None:
            found = _lookups[name] = concurrent.futures.Future()
            found.set_running_or_notify_cancel()  # for others, who cancels one wait ends it not
    if is_new:
        lookup = threading.Thread(target=_look_up, args=(name, found), daemon=True)
        try:
            lookup.start()
        except RuntimeError:  # the interpreter ends and starts no threads: waiting is all right
            _look_up(name, found)
    entries = await asyncio.wrap_future(found)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def _look_up(name: tuple[str, int], found: _Found) -> None:
    try:
        entries = socket.getaddrinfo(*name, type=socket.SOCK_STREAM)
    except Exception as error:
        _forget(name)
        found.set_exception(error)
    else:
        _forget(name)
        found.set_result(entries)


def _forget(name: tuple[str, int]) -> None:
    with _lock:
        del _lookups[name]
