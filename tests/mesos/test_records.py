"""Records of masters: which one leads, and what stands in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from compactor import PID
from compactor.mesos import MasterContender, MasterInfo, MasterInfoError
from compactor.mesos.records import Record, leading, read
from tests.interop import protos

OF_MESOS = (
    b'{"address":{"hostname":"localhost","ip":"127.0.0.1","port":5050},'
    b'"capabilities":[{"type":"AGENT_UPDATE"},{"type":"AGENT_DRAINING"}],'
    b'"hostname":"localhost","id":"0b5a","ip":16777343,"pid":"master@127.0.0.1:5050",'
    b'"port":5050,"version":"1.11.0"}'
)
MASTER = MasterInfo(
    "master@127.0.0.1:5050", "0b5a", "localhost", "1.11.0", ("AGENT_UPDATE", "AGENT_DRAINING")
)
JSON = Record(1, "json.info", "json.info_0000000001")


def changed(**fields: Any) -> bytes:
    record = {**json.loads(OF_MESOS), **fields}
    return json.dumps({name: value for name, value in record.items() if value is not ...}).encode()


def test_a_master_is_written_and_read_as_mesos_does() -> None:
    assert MasterInfo.from_json(OF_MESOS) == MASTER
    assert sorted_json(MASTER.to_json()) == sorted_json(OF_MESOS)
    assert read(JSON, OF_MESOS) == MASTER


def sorted_json(data: bytes) -> str:
    return json.dumps(json.loads(data), sort_keys=True)


def test_a_master_of_ours_needs_a_pid_and_no_more() -> None:
    first, second = MasterInfo(PID("10.1.2.3", 80, "master")), MasterInfo("master@10.1.2.3:80")
    record = json.loads(first.to_json())
    assert record["ip"] == 0x0302010A
    assert record["address"] == {"hostname": "10.1.2.3", "ip": "10.1.2.3", "port": 80}
    assert "version" not in record
    assert first.id != second.id  # each is another run
    assert MasterInfo.from_json(first.to_json()) == first


def test_records_of_old_masters_are_read() -> None:
    message = protos.message("mesos.MasterInfo")(
        id="0b5a", ip=16777343, port=5050, pid="master@127.0.0.1:5050", hostname="localhost",
        version="1.11.0",
    )  # fmt: skip
    message.address.port = 5050
    record = Record(1, "info", "info_0000000001")
    found = read(record, message.SerializeToString() + b"\x42\x00")  # with a field that is newer
    assert (found.pid, found.id, found.hostname) == (MASTER.pid, "0b5a", "localhost")
    message.ClearField("pid")
    message.ClearField("hostname")
    found = read(record, message.SerializeToString())
    assert (found.pid, found.hostname) == (MASTER.pid, "127.0.0.1")
    bare = read(Record(1, "", "0000000001"), b"master@127.0.0.1:5050")
    assert bare.pid == MASTER.pid
    assert bare == read(Record(1, "", "0000000001"), b"master@127.0.0.1:5050")


def test_the_smallest_number_leads_and_others_are_skipped() -> None:
    names = [
        "json.info_0000000012",
        "info_0000000003",
        "log_replicas",
        "0000000007",
        "x_0000000001",
    ]
    assert leading(names) == (3, "info", "info_0000000003")
    assert leading(names[:1]) == (12, "json.info", "json.info_0000000012")
    assert leading([*names, "json.info_-000000002"]) == (-2, "json.info", "json.info_-000000002")
    others = [
        "",
        "0",
        "log_replicas",
        "json.info_",
        "json.info_1",
        "json.info_000000000x",
        "json.info_\u0661" + "0" * 9,
        "json.info_0000000001\n",
        "xjson.info_0000000001",
        "json_info_0000000001",
        "info_00000000000",
    ]
    assert leading(others) is None
    assert leading([]) is None


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "it is no object"),
        (b'{"ip": ' + b"9" * 5000 + b"}", "no JSON|no number of 32 bits"),
        (changed(ip=...), "it has no ip, which must be a number"),
        (changed(ip="127.0.0.1"), "it has '127.0.0.1' as ip, which must be a number"),
        (changed(ip=True), "it has True as ip"),
        (changed(ip=1 << 32), "ip 4294967296 is no number of 32 bits"),
        (changed(ip=-1), "ip -1 is no number of 32 bits"),
        (changed(ip=1.5), "1.5 as ip"),
        (changed(port=...), "it has no port"),
        (changed(port=0), "port 0 is not from 1 to 65535"),
        (changed(port=65536), "port 65536 is not from 1 to 65535"),
        (changed(id=...), "it has no id, which must be a text"),
        (changed(id=7), "it has 7 as id"),
        (changed(pid=7), "it has 7 as pid"),
        (changed(pid="nonsense"), "its pid is none: .*nonsense"),
        (changed(pid="@127.0.0.1:1"), "is not the pid of a master"),
        (changed(hostname=[]), "as hostname, which must be a text"),
        (changed(pid="x" * 1_000_000), "its pid is none"),
    ],
)
def test_records_that_are_none_are_told(data: bytes, told: str) -> None:
    with pytest.raises(MasterInfoError, match=told) as refused:
        read(JSON, data)
    assert str(refused.value).startswith("the record json.info_0000000001 is that of no master: ")
    assert len(str(refused.value)) < 1500


def test_fields_that_need_not_be_there_are_not_missed() -> None:
    least = changed(pid=..., hostname=..., version=..., capabilities="x", address=7)
    assert read(JSON, least) == MasterInfo(MASTER.pid, "0b5a")
    odd = changed(capabilities=[7, {}, {"type": 3}, {"type": "QUOTA_V2"}], domain={"x": 1})
    assert read(JSON, odd).capabilities == ("QUOTA_V2",)


@pytest.mark.parametrize("data", [b"", b"\xff\xff", b"\x0a\x05x", b"\x0a\x01x", OF_MESOS])
def test_binary_records_that_are_none_are_told(data: bytes) -> None:
    with pytest.raises(MasterInfoError, match="info_0000000001 is that of no master: it "):
        read(Record(1, "info", "info_0000000001"), data)


@pytest.mark.parametrize("data", [b"", b"\xff", b"master", OF_MESOS])
def test_bare_records_that_are_none_are_told(data: bytes) -> None:
    with pytest.raises(MasterInfoError, match="0000000001 is that of no master"):
        read(Record(1, "", "0000000001"), data)


def test_masters_that_no_record_has_a_place_for() -> None:
    for pid in ("master@localhost:5050", "master@[::1]:5050"):
        with pytest.raises(MasterInfoError, match=r"cannot be announced: .* address of IPv4"):
            MasterInfo(pid).to_json()
    large = MasterInfo("master@10.0.0.1:5050", hostname="h" * 500_000)
    with pytest.raises(MasterInfoError, match=r"has 1000[0-9]{3} bytes, and ZooKeeper takes"):
        MasterContender("zk://a:1/mesos", large)
    with pytest.raises(MasterInfoError, match="not the pid of a master"):
        MasterInfo(PID("10.0.0.1", 0, "master"))
    with pytest.raises(ValueError, match="nonsense"):
        MasterInfo("nonsense")
    with pytest.raises(TypeError, match="hostname of a master must be a str"):
        MasterInfo("master@10.0.0.1:1", hostname=7)  # type: ignore[arg-type]
