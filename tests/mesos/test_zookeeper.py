"""Masters that are found and announced in real ZooKeeper servers, which are killed and paused."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from compactor import Context, Process
from compactor.mesos import (
    CandidacyLost,
    MasterAccessDenied,
    MasterContender,
    MasterDetector,
    MasterInfo,
    MasterInfoError,
    MasterTimeout,
)
from compactor.mesos.session import Session
from compactor.testing import SimulationError, World, ephemeral_context
from tests.interop import protos
from tests.ports import own_port
from tests.test_docs import BLOCK, ROOT
from tests.test_docs import run as run_program
from tests.test_without_packages import python
from tests.zookeeper import Ensemble, zookeeper

kazoo = pytest.importorskip("kazoo", reason="kazoo is the client of ZooKeeper")

TIMEOUT = 20.0
MASTERS = [MasterInfo(f"master@10.0.0.{n}:5050", id=f"id-{n}") for n in range(1, 4)]
USER = "me:secret"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    """One server, which tests leave as they have found it."""
    with zookeeper(tmp_path_factory.mktemp("zookeeper")) as ensemble:
        yield ensemble


@pytest.fixture(scope="module")
def other(ensemble: Ensemble) -> Iterator[Any]:
    """A client that has nothing to do with ours."""
    from kazoo.client import KazooClient

    client = KazooClient(ensemble.hosts, timeout=20)
    client.start(TIMEOUT)
    yield client
    client.stop()
    client.close()


@pytest.fixture
def path() -> str:
    """A path that no other test uses."""
    return f"/test{next(_numbers)}/mesos"


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a test; no thread of a session outlives it."""
    before = set(threading.enumerate())
    asyncio.run(asyncio.wait_for(coroutine, 2 * TIMEOUT))
    assert not [t for t in set(threading.enumerate()) - before if t.is_alive()]


def put(client: Any, path: str, label: str, data: bytes) -> str:
    """Write a record that ends with the session of ``client``."""
    return str(client.create(f"{path}/{label}", data, ephemeral=True, sequence=True, makepath=True))


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.01)


async def timed(awaitable: Awaitable[Any]) -> float:
    """Seconds that something takes."""
    begin = time.monotonic()
    await asyncio.wait_for(awaitable, TIMEOUT)
    return time.monotonic() - begin


async def expire(detector: MasterDetector | MasterContender) -> None:
    """End the session of one as a server does that has not heard of it."""
    from kazoo.client import KazooClient

    own = detector._announcement if isinstance(detector, MasterContender) else detector
    assert own is not None
    assert own._session is not None
    twin = KazooClient(own._session._url.hosts, client_id=own._session._client.client_id)
    await asyncio.to_thread(twin.start, TIMEOUT)
    await asyncio.to_thread(twin.stop)
    await asyncio.to_thread(twin.close)


def test_all_kinds_of_records_are_followed(ensemble: Ensemble, other: Any, path: str) -> None:
    first, second, third = MASTERS
    binary = protos.message("mesos.MasterInfo")(id=second.id, ip=0x0200000A, port=5050)

    async def main() -> None:
        async with MasterDetector(ensemble.url(path)) as detector:
            begin = asyncio.create_task(detector.detect())
            await asyncio.sleep(0.2)
            assert not begin.done()  # there is not even a folder
            other.ensure_path(f"{path}/log_replicas")
            put(other, path, "unknown_", b"of others")
            bare = put(other, path, "", str(first.pid).encode())
            found = await asyncio.wait_for(begin, TIMEOUT)
            assert found is not None
            assert found.pid == first.pid
            info = put(other, path, "info_", binary.SerializeToString())
            jsons = [put(other, path, "json.info_", third.to_json())]
            with pytest.raises(MasterTimeout, match=r"10\.0\.0\.1:5050 has led for 0\.1 s, as"):
                await detector.detect(found, timeout=0.1)
            other.delete(bare)
            found = await detector.detect(found, timeout=TIMEOUT)
            assert found is not None
            assert (found.pid, found.id) == (second.pid, second.id)
            other.delete(info)
            assert await detector.detect(found, timeout=TIMEOUT) == third
            assert detector.master == third
            other.delete(jsons[0])
            assert await detector.detect(third, timeout=TIMEOUT) is None
            other.delete(path, recursive=True)
            put(other, path, "json.info_", first.to_json())
            assert await detector.detect(timeout=TIMEOUT) == first

    run(main())


def test_masters_are_iterated_and_the_last_of_many_changes_counts(
    ensemble: Ensemble, other: Any, path: str
) -> None:
    async def main() -> None:
        detector = MasterDetector(ensemble.url(path))
        seen = []
        async for master in detector:
            seen.append(master)
            if master is None:
                await detector.close()
            elif master == MASTERS[0]:
                records = [put(other, path, "json.info_", m.to_json()) for m in MASTERS[1:]]
                for record in (own, *records):
                    other.delete(record)
                await until(lambda: detector.master is None)
        assert seen == [MASTERS[0], None]
        with pytest.raises(RuntimeError, match="was closed"):
            await detector.detect()

    own = put(other, path, "json.info_", MASTERS[0].to_json())
    run(main())


def test_a_record_of_no_master_is_told_and_outlived(
    ensemble: Ensemble, other: Any, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with MasterDetector(ensemble.url(path)) as detector:
            with pytest.raises(MasterInfoError, match=r"json.info_0000000000 is that of no master"):
                await detector.detect(timeout=TIMEOUT)
            follower = asyncio.create_task(anext(detector.__aiter__()))
            put(other, path, "json.info_", MASTERS[0].to_json())
            with pytest.raises(MasterInfoError, match="it is no JSON"):  # it leads: no other does
                await detector.detect(timeout=TIMEOUT)
            assert not follower.done()
            other.delete(wrong)
            assert await asyncio.wait_for(follower, TIMEOUT) == MASTERS[0]
            assert await detector.detect() == MASTERS[0]

    wrong = put(other, path, "json.info_", b"nonsense")
    run(main())
    assert [line for line in caplog.messages if "json.info_0000000000 is that of no" in line]
    assert len(caplog.messages) == 1


def test_a_contender_writes_as_mesos_does_and_the_first_leads(
    ensemble: Ensemble, other: Any, path: str
) -> None:
    async def main() -> None:
        url = ensemble.url(path)
        async with MasterDetector(url) as detector, MasterContender(url, MASTERS[0]) as first:
            assert first.record == "json.info_0000000000"
            data, stat = other.get(f"{path}/{first.record}")
            assert json.loads(data) == json.loads(MASTERS[0].to_json())
            assert stat.ephemeralOwner
            await first.elected(timeout=TIMEOUT)
            assert first.is_leading
            assert await detector.detect(timeout=TIMEOUT) == MASTERS[0]
            async with MasterContender(url, str(MASTERS[1].pid)) as second:
                assert second.record == await second.contend() == "json.info_0000000001"
                with pytest.raises(MasterTimeout, match=r"was not elected in .* within 0.1 s"):
                    await second.elected(timeout=0.1)
                await first.withdraw()
                assert (first.is_leading, first.record) == (False, None)
                assert str(await first.lost()) == "it was withdrawn"
                with pytest.raises(CandidacyLost, match="withdrawn"):
                    await first.elected()
                await second.elected(timeout=TIMEOUT)
                assert await detector.detect(MASTERS[0], timeout=TIMEOUT) == second.master
                assert await first.contend(timeout=TIMEOUT) == "json.info_0000000002"
                other.delete(f"{path}/{second.record}")
                assert "removed its record" in str(await second.lost())
                await first.elected(timeout=TIMEOUT)
        assert other.get_children(path) == []

    run(main())


def test_what_no_contender_may_do(ensemble: Ensemble, path: str) -> None:
    async def main() -> None:
        contender = MasterContender(ensemble.url(path), MASTERS[0])
        for call in (contender.elected, contender.lost):
            with pytest.raises(CandidacyLost, match="does not contend yet"):
                await call()
        await contender.withdraw()
        for wrong in (-1, "1", float("nan"), True):
            with pytest.raises(ValueError, match="timeout must be seconds"):
                await contender.contend(timeout=wrong)  # type: ignore[arg-type]
        assert contender.record is None

    run(main())


def test_a_server_that_is_killed_for_a_moment_changes_nothing(
    ensemble: Ensemble, path: str
) -> None:
    async def main() -> None:
        url = ensemble.url(path)
        async with (
            MasterDetector(url, session=20) as detector,
            MasterContender(url, MASTERS[0], session=20) as contender,
        ):
            await detector.detect(timeout=TIMEOUT)
            server = ensemble.leader
            server.kill()
            server.start()
            await asyncio.to_thread(server.wait_until_ready)
            with pytest.raises(MasterTimeout):
                await detector.detect(MASTERS[0], timeout=2)
            assert contender.is_leading
            await contender.withdraw()
            assert await detector.detect(MASTERS[0], timeout=TIMEOUT) is None

    run(main())


def test_without_a_server_leadership_ends_before_the_master_is_forgotten(
    ensemble: Ensemble, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        url = ensemble.url(path)
        async with (
            MasterDetector(url, session=1.5) as detector,
            MasterContender(url, MASTERS[0], session=1.5) as contender,
        ):
            await detector.detect(timeout=TIMEOUT)
            ensemble.leader.kill()
            begin = time.monotonic()
            lost = asyncio.create_task(timed(contender.lost()))
            assert await detector.detect(MASTERS[0], timeout=TIMEOUT) is None
            assert time.monotonic() - begin > 1.4
            assert await lost < 1.4
            assert "no ZooKeeper has answered for 0.5 s" in str(await contender.lost())
            with pytest.raises(
                MasterTimeout, match=r"no ZooKeeper of zk://.* has answered for 0.1"
            ):
                await detector.detect(timeout=0.1)
            ensemble.start()
            async with MasterContender(url, MASTERS[1], session=1.5):
                assert await detector.detect(timeout=TIMEOUT) in MASTERS  # the first may expire yet
                await until(lambda: detector.master == MASTERS[1])

    run(main())
    assert sum("no ZooKeeper of zk://" in line for line in caplog.messages) == 1


def test_a_server_that_is_paused_is_given_up(ensemble: Ensemble, path: str) -> None:
    async def main() -> None:
        async with MasterContender(ensemble.url(path), MASTERS[0], session=1.2) as contender:
            await contender.elected(timeout=TIMEOUT)
            ensemble.leader.pause()
            try:
                # Two thirds of a session until kazoo minds, and one third until the loss, of what
                # was acknowledged up to a third before.
                assert await timed(contender.lost()) < 1.2 + 0.4
            finally:
                ensemble.servers[0].resume()

    run(main())


def test_a_session_that_expires(ensemble: Ensemble, path: str) -> None:
    async def main() -> None:
        url = ensemble.url(path)
        async with MasterDetector(url) as detector, MasterContender(url, MASTERS[0]) as contender:
            await detector.detect(timeout=TIMEOUT)
            await expire(detector)
            with pytest.raises(MasterTimeout):  # the master is the same
                await detector.detect(MASTERS[0], timeout=0.5)
            await expire(contender)
            assert "session with ZooKeeper has expired" in str(await contender.lost())
            assert not contender.is_leading
            assert await detector.detect(MASTERS[0], timeout=TIMEOUT) is None
            assert await contender.contend(timeout=TIMEOUT) == "json.info_0000000001"
            assert await detector.detect(timeout=TIMEOUT) == MASTERS[0]

    run(main())


def test_an_answer_that_is_lost_makes_no_second_record(
    ensemble: Ensemble, other: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, made = Session.create, []

    async def create_and_lose(self: Session, prefix: str, data: bytes) -> str:
        made.append(await create(self, prefix, data))
        raise ConnectionError

    monkeypatch.setattr(Session, "create", create_and_lose)

    async def main() -> None:
        async with MasterContender(ensemble.url(path), MASTERS[0]) as contender:
            await contender.elected(timeout=TIMEOUT)
            assert [contender.record] == made == other.get_children(path)

    run(main())


def test_credentials_guard_the_records_and_are_shown_nowhere(
    ensemble: Ensemble, path: str, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    logging.getLogger("compactor.kazoo").setLevel(1)
    caplog.set_level(1)

    async def main() -> None:
        url, wrong = ensemble.url(path, USER), ensemble.url(path, "me:sesame")
        async with (
            MasterContender(url, MASTERS[0]) as contender,
            MasterDetector(ensemble.url(path)) as anybody,
        ):
            assert await anybody.detect(timeout=TIMEOUT) == MASTERS[0]
            for refused in (wrong, ensemble.url(path)):
                with pytest.raises(MasterAccessDenied, match=r"does not let .* create a record in"):
                    await MasterContender(refused, MASTERS[1]).contend(timeout=TIMEOUT)
            caplog.records.append(logging.makeLogRecord({"msg": f"{contender!r} {anybody!r}"}))

    try:
        run(main())
    finally:
        logging.getLogger("compactor.kazoo").setLevel(logging.ERROR)
    told = "\n".join([record.getMessage() for record in caplog.records] + [*capfd.readouterr()])
    assert "Auth(***)" in told
    assert "secret" not in told
    assert "sesame" not in told


def test_a_folder_that_may_not_be_read(ensemble: Ensemble, other: Any, path: str) -> None:
    from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl

    async def main() -> None:
        async with MasterDetector(ensemble.url(path)) as detector:
            for call in (detector.detect, detector.__aiter__().__anext__):
                with pytest.raises(MasterAccessDenied, match=f"no credentials list {path}"):
                    await call()
            async with MasterDetector(ensemble.url(path, "me:wrong")) as wrong:
                with pytest.raises(MasterAccessDenied, match="let these credentials list"):
                    await wrong.detect(timeout=TIMEOUT)
            async with MasterDetector(ensemble.url(path, USER)) as allowed:
                with pytest.raises(MasterTimeout, match="ZooKeeper knows no master in zk://"):
                    await allowed.detect(timeout=0.3)
            client.set_acls(path, OPEN_ACL_UNSAFE)
            put(other, path, "json.info_", MASTERS[0].to_json())
            await until(lambda: detector.master == MASTERS[0])  # it has tried again

    client = kazoo.client.KazooClient(ensemble.hosts, auth_data=[("digest", USER)])
    client.start(TIMEOUT)
    client.create(path, acl=[make_digest_acl(*USER.split(":"), all=True)], makepath=True)
    run(main())
    client.stop()
    client.close()


def test_what_is_no_zookeeper_is_dialled_on(caplog: pytest.LogCaptureFixture) -> None:
    def answer() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.recv(100)
                peer.sendall(b"\0\0\0\x03HTTP/1.1 400 Bad Request\r\n\r\n")

    async def main() -> None:
        url = f"zk://127.0.0.1:{listener.getsockname()[1]}/mesos"
        async with MasterDetector(url, session=0.5) as detector:
            with pytest.raises(MasterTimeout, match=r"no ZooKeeper of .* has answered for 1"):
                await detector.detect(timeout=1)
            with pytest.raises(MasterTimeout, match=r"no ZooKeeper of .* has taken a record"):
                await MasterContender(url, MASTERS[0]).contend(timeout=0.3)
        nobody = f"zk://127.0.0.1:{own_port()}/mesos"
        async with MasterDetector(nobody, session=0.5) as detector:
            with pytest.raises(MasterTimeout, match=r"has answered for 0.3 s; it is dialled on"):
                await detector.detect(timeout=0.3)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        run(main())
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(TIMEOUT)


def test_the_end_of_a_master_ends_its_candidacy(ensemble: Ensemble, path: str) -> None:
    async def main() -> None:
        url = ensemble.url(path)
        async with Context(ip="127.0.0.1", port=0) as there, MasterDetector(url) as detector:
            with ephemeral_context(ip="127.0.0.1", port=0) as here:  # in a thread of its own
                pid = there.spawn(Process("master"))
                contender = MasterContender(url, pid, context=here)
                await contender.contend(timeout=TIMEOUT)
                assert await detector.detect(timeout=TIMEOUT) == contender.master
                there.terminate(pid)
                lost = str(await asyncio.wait_for(contender.lost(), TIMEOUT))
                assert lost == f"the master {pid} is gone: terminated"
                assert await detector.detect(contender.master, timeout=TIMEOUT) is None
                again = there.spawn(Process("master"))
                async with MasterContender(url, again, context=here):
                    await detector.detect(timeout=TIMEOUT)
                await until(lambda: not here._runtime.registry.live)

    run(main())


async def test_simulations_have_fixed_masters_alone(world: World) -> None:
    url = "zk://10.0.0.1:2181/mesos"
    for ask in (MasterDetector(url).detect, MasterContender(url, MASTERS[0]).contend):
        with pytest.raises(SimulationError, match="thread"):
            await ask()
    found = await MasterDetector(str(MASTERS[0].pid)).detect(timeout=1)
    assert found is not None
    assert found.pid == MASTERS[0].pid


def test_a_detector_belongs_to_its_loop(ensemble: Ensemble) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            await fixed.detect()

    fixed = MasterDetector("10.0.0.1:5050")
    found = asyncio.run(fixed.detect())
    assert found is not None
    assert str(found.pid) == "master@10.0.0.1:5050"
    run(main())


def test_the_leader_of_an_ensemble_is_killed(tmp_path: Any, path: str) -> None:
    async def main(ensemble: Ensemble) -> None:
        url = ensemble.url(path)
        async with (
            MasterDetector(url, session=5) as detector,
            MasterContender(url, MASTERS[0], session=5) as contender,
        ):
            assert await detector.detect(timeout=TIMEOUT) == MASTERS[0]
            ensemble.leader.kill()
            async with MasterContender(url, MASTERS[1], session=5) as second:
                assert contender.is_leading
                assert detector.master == MASTERS[0]
                await contender.withdraw()
                await second.elected(timeout=TIMEOUT)
                assert await detector.detect(MASTERS[0], timeout=TIMEOUT) == MASTERS[1]

    with zookeeper(tmp_path, 3) as ensemble:
        run(main(ensemble))


def test_the_program_of_the_page_runs_as_it_says(ensemble: Ensemble, tmp_path: Path) -> None:
    """It is not run with those of other pages, which need nothing."""
    page = (ROOT / "docs" / "mesos.md").read_text("utf-8")
    blocks = [block for block in BLOCK.finditer(page) if block["language"] in ("python", "text")]
    program, output = (block["text"] for block in blocks)
    assert "127.0.0.1:2181" in program
    (tmp_path / "block.py").write_text(program.replace("127.0.0.1:2181", ensemble.hosts))
    done = run_program(tmp_path / "block.py", tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", output)


def test_without_kazoo_it_is_named(tmp_path: Path) -> None:
    program = """
import asyncio
from compactor.mesos import MasterContender, MasterDetector
url = "zk://127.0.0.1:2181/mesos"
for asked in (MasterDetector(url).detect, MasterContender(url, "master@10.0.0.1:1").contend):
    try:
        asyncio.run(asked())
    except ImportError as error:
        print(type(error).__name__, error)
"""
    done = python("-W", "error", "-c", program, hidden="kazoo")
    line = (
        "MissingPackage ZooKeeper is asked by the package kazoo: pip install 'compactor[zookeeper]'"
    )
    assert (done.stderr, done.stdout) == ("", f"{line}\n" * 2)
