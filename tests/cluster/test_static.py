"""Names that stand in a URL or in a file."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from compactor import Context, Process
from compactor.cluster import Cluster, ClusterUnreachable
from compactor.cluster.conformance import KnownNamesConformance
from compactor.cluster.engines import static
from tests.ports import own_port


class Bears(KnownNamesConformance):
    """Names whose processes live, for what exits leaves."""

    def run(self, check: Any) -> None:
        async def run() -> None:
            async with Context(ip="127.0.0.1", port=own_port()) as self.home:
                pids = [self.home.spawn(Process(each)) for each in ("orders", "other")]
                self.known = "orders", [str(pid) for pid in pids[: self.bearers]]
                await check()

        asyncio.run(asyncio.wait_for(run(), 30))

    known = ("orders", [])
    bearers = 1
    home: Context


class TestList(Bears):
    def url(self) -> str:
        return f"static://{self.known[1][0]},billing@192.0.2.1:5050"


class TestFile(Bears):
    bearers = 2

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.file = tmp_path / "names.json"

    def url(self) -> str:
        self.file.write_text(json.dumps({"orders": self.known[1]}))
        return f"static://{self.file}"


def names(file: Path, content: Any) -> None:
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    os.utime(file, (0, len(file.read_text())))  # another time, however coarse those are


async def following(file: Path, context: Context) -> list[list[tuple[str, Any]]]:
    """What a watch of ``orders`` shows while the file is changed."""
    seen = []
    orders = context.spawn(Process("orders"))
    names(file, {"orders": [str(orders)]})
    async with Cluster(f"static://{file}", context) as cluster:
        watch = cluster.watch("orders")

        async def show() -> None:
            members = await asyncio.wait_for(watch.__anext__(), 10)
            seen.append([(each.pid.id, each.metadata) for each in members])

        await show()
        other = {"pid": str(context.spawn(Process("other"))), "metadata": {"zone": "b"}}
        names(file, {"orders": [str(orders), other]})
        await show()
        names(file, "{")
        await asyncio.sleep(3 * static._POLL)
        names(file, {"billing": [other]})
        await show()
        assert (await cluster.find("billing")).id == "other"
    return seen


def test_a_file_that_changes_is_read_again_and_a_bad_one_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(static, "_POLL", 0.02)

    async def run() -> list[list[tuple[str, Any]]]:
        async with Context(ip="127.0.0.1", port=own_port()) as context:
            return await following(tmp_path / "names.json", context)

    one, two = ("orders", {}), ("other", {"zone": "b"})
    assert asyncio.run(run()) == [[one], [one, two], []]
    lines = [record.getMessage() for record in caplog.records if "cannot be used" in record.msg]
    assert len(lines) == 1
    assert "it is no JSON" in lines[0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        ("[" * 100_000, "it is no JSON"),
        ("[]", "it has lists of pids by name"),
        ({"orders": "orders@10.0.0.1:1"}, "it has lists of pids by name"),
        ({"orders": ["orders"]}, "'orders' of 'orders' is no pid"),
        ({"orders": [7]}, "7 of 'orders' is no pid"),
        ({"orders": [{"pid": "a@10.0.0.1:1", "metadata": {"a": []}}]}, "metadata maps texts"),
        ("x" * (1 << 20) + "x", "more than 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_at_the_start_is_an_error(
    tmp_path: Path, content: Any, why: str
) -> None:
    file = tmp_path / "names.json"
    if content is not None:
        names(file, content)

    async def run() -> None:
        async with Context(ip="127.0.0.1", port=own_port()) as context:
            with pytest.raises(ClusterUnreachable) as refused:
                async with Cluster(f"static://{file}", context, timeout=0.05):
                    pass
            assert why in str(refused.value)

    asyncio.run(run())
