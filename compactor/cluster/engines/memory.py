"""``memory://``: names that a :class:`MemoryServer` keeps, asked through the context."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from compactor.cluster.engine import Engine, Feeds, Record, Told
from compactor.cluster.engines.memory_server import MEMORY, MemoryServer
from compactor.cluster.errors import (
    ClusterError,
    ClusterRefused,
    ClusterUnreachable,
    SessionExpired,
)
from compactor.cluster.urls import ClusterUrl, is_loopback
from compactor.errors import AskFailed, AskTimeout, ContextStopped, InvalidProcess, RemoteError
from compactor.pid import PID
from compactor.system.system import system

if TYPE_CHECKING:
    from compactor.context import Context

_WAIT = 5.0  # seconds that the server keeps a question for changes
_PATIENCE = 2.0  # seconds that its answer may take besides


class MemoryEngine(Engine):
    """One session with a memory server; without a host in the URL, with one of this context.

    Args:
        url: where it is.
        context: asks it.
    """

    def __init__(self, url: ClusterUrl, context: Context) -> None:
        url.check_options(())
        self._path = "/".join(url.place())
        self._context = context
        if len(url.hosts) > 1:
            raise ValueError(f"{url.text!r} is no URL of a cluster: memory:// has one host at most")
        host, port = url.hosts[0] if url.hosts else (context.ip, context.port)
        if not port:
            raise ValueError(
                f"{url.text!r} is no URL of a cluster: memory://host:port needs the port"
            )
        self._is_own = not url.hosts
        self._server = PID(host, port, MEMORY)
        self.serves_this_machine_alone = is_loopback(host)
        self._id = ""
        self._timeout = 10.0
        self._feeds = Feeds(self._feed)

    async def begin(self, session: float) -> float:
        if self._is_own:
            with contextlib.suppress(InvalidProcess):  # it is there
                self._context.spawn(MemoryServer())
        self._id = system().random_bytes(8).hex()
        self._timeout = session
        told = await self._ask("begin", seconds=session)
        self._timeout = float(told["seconds"])
        return self._timeout

    async def renew(self) -> None:
        await self._ask("renew")

    async def end(self) -> None:
        await self._feeds.close()
        with contextlib.suppress(ClusterError):
            await self._ask("end", timeout=min(self._timeout, 1.0))

    async def put(self, place: str, id: str, value: bytes) -> Record:
        told = await self._ask("put", place=self._at(place), id=id, value=value.decode("latin-1"))
        return Record(id, told["order"], value)

    async def remove(self, place: str, id: str) -> None:
        await self._ask("remove", place=self._at(place), id=id)

    def watch(self, place: str, told: Told) -> Callable[[], None]:
        return self._feeds.watch(place, told)

    async def _feed(self, place: str, told: Told) -> None:
        version = -1
        path = self._at(place)
        while True:
            try:
                news = await self._ask(
                    "watch", _WAIT + _PATIENCE, place=path, version=version, wait=_WAIT
                )
            except SessionExpired:
                return
            except ClusterError:
                await asyncio.sleep(self._timeout / 10)
                continue
            except asyncio.CancelledError:
                body = json.dumps({"session": self._id, "place": path}).encode()
                with contextlib.suppress(ContextStopped):
                    self._context.post(self._server, "cluster.unwatch", body)
                raise
            if "records" in news:
                version = news["version"]
                told([_record(*each) for each in news["records"]])

    def _at(self, place: str) -> str:
        return f"{self._path}/{place}"

    async def _ask(self, what: str, timeout: float = 0.0, **content: Any) -> dict[str, Any]:
        body = json.dumps({"session": self._id, **content}).encode()
        try:
            answer = await self._context.ask(
                self._server, f"cluster.{what}", body, timeout=timeout or self._timeout
            )
        except (AskFailed, AskTimeout) as error:
            raise ClusterUnreachable(f"{self._server}: {error}") from error
        except RemoteError as error:
            raise ClusterRefused(f"{self._server}: {error}") from error
        told: dict[str, Any] = json.loads(answer)
        if "expired" in told:
            raise SessionExpired(f"{self._server} has ended the session")
        if "refused" in told:
            raise ClusterRefused(f"{self._server}: {told['refused']}")
        return told


def _record(id_: str, order: int, value: str) -> Record:
    return Record(id_, order, value.encode("latin-1"))
