"""``RefusingLoop``: what cannot be simulated, refused with the reason and what would do."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from compactor.testing.simulated.errors import SimulationError


def refuse(what: str, instead: str) -> NoReturn:
    """Say that something cannot be simulated."""
    raise SimulationError(f"{what} cannot be simulated: {instead}")


class RefusingLoop(asyncio.BaseEventLoop):
    """An event loop without threads, signals, files and other OS processes."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> NoReturn:
        refuse("a thread", "it does not follow virtual time; call the function itself")

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> NoReturn:  # type: ignore[override]
        refuse("a signal", "call what its handler would call")

    def remove_signal_handler(self, sig: int) -> bool:
        return False

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> NoReturn:  # type: ignore[override]
        refuse("a real socket or file", "no bytes of the real world arrive in virtual time")

    def add_writer(self, fd: Any, callback: Any, *args: Any) -> NoReturn:  # type: ignore[override]
        refuse("a real socket or file", "no bytes leave for the real world in virtual time")

    async def subprocess_exec(self, *args: Any, **kw: Any) -> NoReturn:
        refuse("another OS process", "run its program on a host of the world")

    async def subprocess_shell(self, *args: Any, **kw: Any) -> NoReturn:
        refuse("another OS process", "run its program on a host of the world")

    async def create_datagram_endpoint(self, *args: Any, **kw: Any) -> NoReturn:
        refuse("UDP", "the network of the world has TCP alone")

    async def create_unix_connection(self, *args: Any, **kw: Any) -> NoReturn:
        refuse("a Unix socket", "the network of the world has TCP alone")

    async def create_unix_server(self, *args: Any, **kw: Any) -> NoReturn:
        refuse("a Unix socket", "the network of the world has TCP alone")

    async def _refuse_socket(self, *args: Any, **kw: Any) -> NoReturn:
        refuse("a real socket", "take asyncio.open_connection, which the network of the world has")

    sock_recv = sock_recv_into = sock_recvfrom = sock_recvfrom_into = _refuse_socket
    sock_sendall = sock_sendto = sock_sendfile = sock_connect = sock_accept = _refuse_socket
    sendfile = connect_accepted_socket = _refuse_socket

    async def start_tls(self, *args: Any, **kw: Any) -> NoReturn:
        refuse("TLS of asyncio", "contexts bring their own")

    async def connect_read_pipe(self, *args: Any, **kw: Any) -> NoReturn:
        refuse("a pipe", "no bytes of the real world arrive in virtual time")

    async def connect_write_pipe(self, *args: Any, **kw: Any) -> NoReturn:
        refuse("a pipe", "no bytes leave for the real world in virtual time")
