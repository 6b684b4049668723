"""URLs and names: what is taken, and what the text of a refusal says."""

from __future__ import annotations

import re
import sys

import pytest

from compactor import Context
from compactor.cluster import Cluster
from compactor.cluster.urls import ClusterUrl, check_name, is_loopback
from compactor.errors import MissingPackage


def test_a_url_is_taken_to_its_parts() -> None:
    url = ClusterUrl.parse("ZK://ann:p%40ss@zk1:2181,[::1]:2182,zk3/shop/floor%201?a=b")
    assert url.scheme == "zk"
    assert (url.user, url.password) == ("ann", "p@ss")
    assert url.hosts == (("zk1", 2181), ("::1", 2182), ("zk3", 0))
    assert url.need(2181, ("a",))[2] == ("zk3", 2181)
    assert url.path == "/shop/floor 1"
    assert url.options == {"a": "b"}


def test_no_text_shows_the_password() -> None:
    url = "zk://ann:secret@zk1:0/shop"
    with pytest.raises(ValueError, match="is no port") as refused:
        ClusterUrl.parse(url)
    assert "secret" not in str(refused.value)
    assert "secret" not in ClusterUrl.parse("zk://ann:secret@zk1/shop").text


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "not of the form"),
        ("zk1:2181/shop", "not of the form"),
        ("zk:/zk1/shop", "not of the form"),
        ("zk://zk1:2181,,zk2/shop", "'' is no host and port"),
        ("zk://zk1:port/shop", "'port' is no port"),
        ("zk://zk1:65536/shop", "'65536' is no port"),
        ("zk://zk1:99999999999999999999/shop", "is no port"),
        ("zk://::1:2181/shop", "is no host and port"),
        ("zk://[::1/shop", "is no IPv6 address and port"),
        ("zk://:secret@zk1/shop", "no user before the @"),
        ("memory://host/shop", "needs the port"),
        ("dns+srv://", "it is dns+srv://domain"),
        ("dns+srv://shop.example:53", "it is dns+srv://domain"),
        ("dns+srv://ns.example/shop.example", "does not appear to be an IPv4 or IPv6 address"),
        ("dns+srv://10.0.0.1/a..b", "label"),
        ("nats:///shop", "it names no host, as nats://host:4222/shop does"),
        ("nats://n1/", "root"),
        ("nats://n1/shop/floor", "its path is the name of a bucket"),
        ("nats://n1/a.b", "its path is the name of a bucket"),
        ("nats://n1/shop?replicas=0", "replicas is from 1 to 5"),
        ("zk:///shop", "it names no host, as zk://host:2181/shop does"),
        ("zk://zk1:2181/", "root"),
        ("memory://a:1,b:1/shop", "one host at most"),
        ("memory://a:1/", "root"),
        ("memory://a:1", "root"),
        ("memory://a:1/shop//orders", "each part of the path"),
        ("memory://a:1/shop/%00", "each part of the path"),
        ("memory://a:1/shop?session=3", "option 'session' is not known"),
        ("gopher://a:1/shop", "its scheme must be"),
        ("static://", "static:// needs pids"),
        ("static:///", "static:// needs pids"),
        ("static://orders", "Invalid PID"),
        ("static://orders@10.0.0.1:5050/names.json", "pids, or the path of a file"),
    ],
)
def test_what_is_no_url_of_a_cluster_is_refused_at_once(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        Cluster(url, None)  # type: ignore[arg-type]


def test_other_arguments_are_checked_too() -> None:
    context: Context = None  # type: ignore[assignment]
    for session in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="session must be positive seconds"):
            Cluster("static://a@10.0.0.1:1", context, session=session)
    with pytest.raises(TypeError, match="timeout is a number of seconds"):
        Cluster("static://a@10.0.0.1:1", context, timeout="3")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a callable that makes an Engine"):
        Cluster(dict, context)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a callable that makes an Engine"):
        Cluster(7, context)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a/b", "/", "a\0", "a b", "a\n", "a@b", ".", "..", "x" * 201])
def test_a_name_that_some_engine_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a name h"):
        check_name(name)


@pytest.mark.parametrize(
    ("url", "extra"),
    [("zk://zk1/shop", "zookeeper"), ("dns+srv://shop.example", "dns"), ("nats://n1/shop", "nats")],
)
def test_a_missing_package_is_named_with_its_extra(
    url: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = {"kazoo", "dns", "nats"}
    for name in [name for name in sys.modules if name.partition(".")[0] in hidden]:
        monkeypatch.delitem(sys.modules, name)
    for name in hidden:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackage, match=rf"pip install 'compactor\[{extra}\]'"):
        Cluster(url, None)  # type: ignore[arg-type]


def test_loopback_is_told_from_other_hosts() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("10.0.0.1", "zk1", "fe80::1%eth0")))
