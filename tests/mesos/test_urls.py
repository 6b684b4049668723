"""Where masters are found: what is read, and what is refused without showing credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from compactor.mesos import MasterContender, MasterDetector, MasterInfo, MasterUrlError
from compactor.mesos.urls import ZooKeeperUrl, parse, parse_zookeeper


@pytest.mark.parametrize(
    ("text", "hosts", "path", "credentials"),
    [
        ("zk://a:1/mesos", "a:1", "/mesos", None),
        (" zk://a:1,10.0.0.1:2181,[::1]:3/a/b/\n", "a:1,10.0.0.1:2181,[::1]:3", "/a/b", None),
        ("zk://me:secret@a:1/mesos", "a:1", "/mesos", "me:secret"),
        ("zk://me:s%40:@cret@a:1/mesos", "a:1", "/mesos", "me:s%40:@cret"),  # as it stands
    ],
)
def test_urls_of_zookeeper(text: str, hosts: str, path: str, credentials: str | None) -> None:
    found = parse_zookeeper(text)
    assert found == parse(text) == ZooKeeperUrl(hosts, path, credentials)
    assert "cret" not in f"{found} {found!r} {MasterDetector(text)!r}"
    assert "cret" not in repr(MasterContender(text, "master@10.0.0.1:5050"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("zk://a:1", "names? one|has no path.* zk://a:1/mesos"),
        ("zk://a:1/", "has no path, and / is none.* zk://a:1/mesos"),
        ("zk://a:1//", "has no path"),
        ("zk://a/mesos", "server 'a', which must be host:port"),
        ("zk:///mesos", "server '', which must be host:port"),
        ("zk://a:1,,b:2/mesos", "server '', which"),
        ("zk://a b:1/mesos", "server 'a b:1'"),
        ("zk://a:0/mesos", "port must be from 1 to 65535"),
        ("zk://a:65536/mesos", "port must be from 1 to 65535"),
        ("zk://a:x/mesos", "port must be from 1 to 65535"),
        ("zk://a:\u0663/mesos", "port must be from 1 to 65535"),
        ("zk://a:" + "1" * 5000 + "/mesos", "port must be from 1 to 65535"),
        ("zk://a:1/me//sos", "an empty part"),
        ("zk://a:1/me/../sos", "an empty part, '.' or '..'"),
        ("zk://a:1/me\0sos", r"'\\x00' in its path"),
        ("zk://a:1/zookeeper/x", "keeps for itself"),
        ("zk://mesecret@a:1/mesos", r"zk://\*\*\*@a:1/mesos' has credentials that are not"),
        ("zk://:secret@a:1/mesos", "credentials that are not user:password"),
        ("zk://me:secret@a/mesos", r"zk://\*\*\*@a/mesos' has a server 'a'"),
        ("zk://me:sec/ret@a:1/mesos", "a password with a slash"),
        ("http://me:secret@a:1/mesos", r"http://\*\*\*@a:1/mesos"),
        ("zk:/me:secret@a:1/mesos", r"'\*\*\*@a:1/mesos' names no master"),
        ("", "names no master: it must be zk://"),
        ("a", "names no master"),
        ("a:70000", "names no master"),
        ("@a:5050", "names no master"),
        ("master@a:0", "names no master"),
    ],
)
def test_wrong_urls_are_refused_by_what_is_wrong(text: str, told: str) -> None:
    with pytest.raises(MasterUrlError, match=told) as refused:
        MasterDetector(text)
    assert "sec" not in str(refused.value)
    with pytest.raises(MasterUrlError) as refused:
        MasterContender(text, "master@10.0.0.1:5050")
    assert "sec" not in str(refused.value)


def test_what_is_no_text_is_refused() -> None:
    for given in (None, b"zk://a:1/mesos", 7):
        with pytest.raises(TypeError, match="must be a str such as zk://host:2181/mesos"):
            MasterDetector(given)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="must be a str such as"):
            MasterContender(given, "master@10.0.0.1:5050")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["10.0.0.1:5050", "master@10.0.0.1:5050"])
def test_an_address_is_that_of_a_master_that_leads(text: str) -> None:
    found = parse(text)
    assert isinstance(found, MasterInfo)
    assert str(found.pid) == "master@10.0.0.1:5050"


def test_a_file_holds_what_nobody_else_is_to_see(tmp_path: Path) -> None:
    file = tmp_path / "masters"
    file.write_text("zk://me:secret@a:1/mesos\n")
    assert parse(f"file://{file}") == ZooKeeperUrl("a:1", "/mesos", "me:secret")
    file.write_text("nonsense")
    with pytest.raises(MasterUrlError, match="'nonsense' names no master"):
        parse(f"file://{file}")
    file.write_text(f"file://{file}")
    with pytest.raises(MasterUrlError, match="must hold zk://"):
        parse(f"file://{file}")
    file.write_bytes(b"\xff")
    with pytest.raises(MasterUrlError, match="cannot be read"):
        parse(f"file://{file}")
    file.write_text("x" * 100_000)
    with pytest.raises(MasterUrlError, match="must hold zk://"):
        parse(f"file://{file}")
    with pytest.raises(MasterUrlError, match=r"cannot be read.*No such file"):
        parse("file:///does/not/exist")


@pytest.mark.parametrize("given", [0, -1, 1e9, float("nan"), True, "10", None])
def test_sessions_are_seconds(given: object) -> None:
    with pytest.raises(ValueError, match="session must be seconds from"):
        MasterDetector("zk://a:1/mesos", session=given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="session must be seconds from"):
        MasterContender("zk://a:1/x", "master@10.0.0.1:1", session=given)  # type: ignore[arg-type]
