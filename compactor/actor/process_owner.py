"""``ProcessOwner`` and ``ShortWay``: what a process asks of its context, and how it sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from compactor.actor.handlers import HandlerTable
from compactor.actor.message_types import MessageTypes
from compactor.pid import PID
from compactor.wire.encoder import Body


class ProcessOwner(Protocol):
    """What a process asks of its context."""

    ip: str
    port: int
    _pid_of: Callable[[str, int, str], PID]
    _handler_table: Callable[[type], HandlerTable]
    _types: MessageTypes
    _guard: Any

    def _hosts(self, process: Any) -> bool: ...
    def _check_endpoints(self, process: Any, id_: str, table: HandlerTable) -> None: ...
    def send(self, from_pid: PID, to_pid: PID, method: str, body: Body | None = None) -> None: ...
    def link(self, pid: PID, to: PID, reconnect: bool = False) -> None: ...
    def terminate(self, pid: PID, inject: bool = True) -> None: ...
    def delegated(self, process: Any, name: str, from_pid: PID, body: bytes) -> None: ...
    async def drained(self, pid: PID, to: PID) -> None: ...


class ShortWay(Protocol):
    """The short way to send."""

    def send(self, to: PID, name: str, body: Body | None) -> bool: ...
