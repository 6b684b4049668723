"""Host names to addresses and back, looked up in threads that nothing waits for.

Event loops look names up in a few threads that they share.  A name server that does not answer
would hold up all other names there, and the end of the loop and of the program as well.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import ipaddress
import os
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

_MAX_THREADS = 64  # that look up; senders may name any number of hosts that no server knows

_Question = tuple[Callable[..., Any], tuple[Any, ...]]


class _Lookup:
    """The answer to one question, and how many wait for it."""

    def __init__(self) -> None:
        self.found: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.found.set_running_or_notify_cancel()  # who cancels one wait does not end it
        self.waiters = 0


_lookups: dict[_Question, _Lookup] = {}
_queue: OrderedDict[_Question, _Lookup] = OrderedDict()  # those that no thread has begun
_threads = 0
_lock = threading.Lock()


def ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a host is given as, without its zone; None if it is a name.

    Of an IPv4 address that is written as one of IPv6 (``::ffff:192.0.2.1``), the former.
    """
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the order in which they are to be tried.

    Raises:
        OSError, UnicodeError: it has none.
    """
    entries = await _ask(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


async def name_of(ip: str) -> str | None:
    """The name that DNS gives for an address, or None."""
    try:
        name, _ = await _ask(socket.getnameinfo, (ip, 0), socket.NI_NAMEREQD)
    except OSError:
        return None
    return str(name)


async def _ask(call: Callable[..., Any], *args: Any) -> Any:
    """What a call returns in a thread.

    Equal calls at the same time are one, whichever loops they are made on.  One that nobody
    waits for any more is not begun; if it was, it goes on until the system gives it up.
    """
    global _threads
    question = (call, args)
    needs_thread = False
    with _lock:
        lookup = _lookups.get(question)
        if lookup is None:
            lookup = _lookups[question] = _queue[question] = _Lookup()
            needs_thread = _threads < _MAX_THREADS
            _threads += needs_thread
        lookup.waiters += 1
    try:
        if needs_thread:
            _start_thread()
        return await asyncio.wrap_future(lookup.found)
    finally:
        with _lock:
            lookup.waiters -= 1
            # It may have been answered, and others may have asked the same since.
            if not lookup.waiters and _queue.get(question) is lookup:
                del _queue[question], _lookups[question]


def _start_thread() -> None:
    global _threads
    try:
        threading.Thread(target=_answer, daemon=True).start()
    except RuntimeError:  # there are too many of others; or the interpreter ends and starts none
        with _lock:
            is_alone = _threads == 1
            _threads -= not is_alone
        if is_alone:
            _answer()  # waiting is better than no answer ever


def _answer() -> None:
    """Answer questions until none is left."""
    global _threads
    while True:
        with _lock:
            if not _queue:
                _threads -= 1
                return
            question, lookup = _queue.popitem(last=False)
        call, args = question
        error, result = None, None
        try:
            result = call(*args)
        except Exception as failure:
            error = failure
        with _lock:
            del _lookups[question]
        if error is not None:
            lookup.found.set_exception(error)
        else:
            lookup.found.set_result(result)


def _forget() -> None:
    """After a fork there is none of the threads that look up, and nobody who waits."""
    global _lock, _threads
    _lock = threading.Lock()  # one of them may have held the old one
    _threads = 0
    _lookups.clear()
    _queue.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
