"""Mesos' C++ driver follows masters of ours through a real ZooKeeper, and we follow Mesos'."""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compactor import PID, Context
from compactor.mesos import MasterContender, MasterDetector, MasterInfo
from compactor.process import ProtobufProcess
from tests.zookeeper import Ensemble, zookeeper

from . import protos
from .mesos_fixture import Cluster
from .programs import TIMEOUT, Program

pytest.importorskip("kazoo", reason="kazoo is the client of ZooKeeper")

EXAMPLE = Path(__file__).parents[2] / "examples" / "mesos_framework.py"
FRAMEWORK_ID = "framework-1"


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    """One server."""
    with zookeeper(tmp_path_factory.mktemp("zookeeper")) as ensemble:
        yield ensemble


class Master(ProtobufProcess):
    """Registers whoever subscribes."""

    def __init__(self) -> None:
        super().__init__("master")
        self.subscribers: list[PID] = []

    @ProtobufProcess.install(protos.Call)
    def called(self, from_pid: PID, call: Any) -> None:
        if call.type != protos.Call.SUBSCRIBE:
            return
        self.subscribers.append(from_pid)
        known = call.subscribe.framework_info.id.value
        kind = "Reregistered" if known else "Registered"
        message = getattr(protos, f"Framework{kind}Message")()
        message.framework_id.value = known or FRAMEWORK_ID
        info = message.master_info
        info.id, info.ip, info.port = "master", 0x0100007F, self.pid.port
        info.pid, info.hostname = str(self.pid), "localhost"
        self.send(from_pid, message)


def follow(
    ensemble: Ensemble,
    new_context: Callable[..., Context],
    mesos_driver: Callable[..., Program],
    changes: int,
    path: str,
) -> None:
    """Have the driver, and a detector of ours, follow that many changes between two masters."""
    masters = [Master(), Master()]
    pids = [new_context().spawn(master) for master in masters]
    url = ensemble.url(path)
    detector = MasterDetector(url)

    async def main() -> None:
        contenders = [MasterContender(url, MasterInfo(pid, hostname="localhost")) for pid in pids]
        await contenders[0].contend(timeout=TIMEOUT)
        found = await detector.detect(timeout=TIMEOUT)
        driver = mesos_driver(url)
        told = await asyncio.to_thread(driver.expect, "REGISTERED")
        assert told == [FRAMEWORK_ID, "localhost", str(pids[0].port)]
        for change in range(1, changes + 1):
            leader, follower = contenders[(change - 1) % 2], contenders[change % 2]
            await follower.contend(timeout=TIMEOUT)
            await leader.withdraw()
            told = await asyncio.to_thread(driver.expect, "REREGISTERED")
            assert told == ["localhost", str(pids[change % 2].port)], f"at change {change}"
            found = await detector.detect(found, timeout=TIMEOUT)
            assert found == follower.master
        for contender in contenders:
            await contender.withdraw()
        await asyncio.to_thread(driver.expect, "DISCONNECTED")
        assert driver.is_alive
        assert await detector.detect(found, timeout=TIMEOUT) is None
        await detector.close()

    asyncio.run(main())


def test_driver_follows_changes_of_the_leader(
    ensemble: Ensemble,
    new_context: Callable[..., Context],
    mesos_driver: Callable[..., Program],
) -> None:
    follow(ensemble, new_context, mesos_driver, 20, "/follows/mesos")


@pytest.mark.slow
def test_driver_follows_many_changes_of_the_leader(
    ensemble: Ensemble,
    new_context: Callable[..., Context],
    mesos_driver: Callable[..., Program],
) -> None:
    follow(ensemble, new_context, mesos_driver, 100, "/follows-on/mesos")


def test_driver_finds_a_master_that_only_credentials_may_write(
    ensemble: Ensemble, mesos_driver: Callable[..., Program]
) -> None:
    async def main() -> None:
        url = ensemble.url("/guarded/mesos", "me:secret")
        async with Context(ip="127.0.0.1", port=0) as context:
            pid = context.spawn(Master())
            async with MasterContender(url, pid):
                drivers = [mesos_driver(url), mesos_driver(ensemble.url("/guarded/mesos"))]
                for driver in drivers:  # the one with credentials takes three seconds to show them
                    told = await asyncio.to_thread(driver.expect, "REGISTERED")
                    assert told == [FRAMEWORK_ID, "localhost", str(pid.port)]

    asyncio.run(main())


def info_of(cluster: Cluster) -> MasterInfo:
    """What a live master says of itself."""
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=TIMEOUT)
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    connection.request("POST", "/master/api/v1", b'{"type":"GET_MASTER"}', headers)
    answer = json.load(connection.getresponse())
    connection.close()
    return MasterInfo.from_json(json.dumps(answer["get_master"]["master_info"]))


def test_the_example_follows_live_masters_and_keeps_its_id(
    ensemble: Ensemble, mesos_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    url, started = ensemble.url("/live/mesos"), []

    def start() -> Program:
        environ = {"LIBPROCESS_IP": "127.0.0.1", "PYTHONPATH": str(EXAMPLE.parents[1])}
        command = [sys.executable, "-u", EXAMPLE, url, tmp_path / "framework.id"]
        started.append(Program(command, environ, tmp_path / f"log{len(started)}"))
        return started[-1]

    async def main() -> None:
        cluster = await asyncio.to_thread(mesos_cluster)
        master = info_of(cluster)
        assert (str(master.pid), master.version) == (cluster.master, "1.11.0")
        async with Context(ip="127.0.0.1", port=0) as context:
            contender = MasterContender(url, master, context=context)
            assert await contender.contend(timeout=TIMEOUT) == "json.info_0000000000"
            framework = start()
            told = await asyncio.to_thread(framework.expect, "registered")
            assert told[0] == "as"
            framework_id = told[1]
            await asyncio.to_thread(framework.expect, "status")
            framework.kill()

            framework = start()
            told = await asyncio.to_thread(framework.expect, "registered")
            assert told == ["as", framework_id]
            await asyncio.to_thread(framework.expect, "offered")

            cluster.program.kill()
            lost = await asyncio.wait_for(contender.lost(), TIMEOUT)
            assert str(lost).startswith(f"the master {cluster.master} is gone: ")
            await asyncio.to_thread(framework.expect, "lost")
            told = await asyncio.to_thread(framework.expect, "the")
            assert told == ["leading", "master", "is", "None"]

            again = await asyncio.to_thread(mesos_cluster)
            async with MasterContender(url, info_of(again), context=context):
                told = await asyncio.to_thread(framework.expect, "registered")
                assert told == ["as", framework_id]
                await asyncio.to_thread(framework.expect, "status")
            known = again.framework(framework_id)
            assert (known["name"], known["active"]) == ("example", True)

    try:
        asyncio.run(main())
    finally:
        for program in started:
            program.kill()
