"""What tests start as ZooKeeper: it serves, ends as told, and keeps what it stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.zookeeper import zookeeper


def test_a_server_is_killed_and_started_again_with_what_it_had(tmp_path: Path) -> None:
    kazoo = pytest.importorskip("kazoo.client", reason="kazoo is the client of ZooKeeper")
    with zookeeper(tmp_path) as ensemble:
        server = ensemble.leader
        client = kazoo.KazooClient(ensemble.hosts)
        client.start(timeout=10)
        client.create("/kept", b"value")
        server.kill()
        assert not server.is_alive
        assert server.mode == ""
        ensemble.start()
        client.retry(client.get, "/kept")
        assert client.get("/kept")[0] == b"value"
        client.stop()
        client.close()
    assert not server.is_alive
