"""PID: parse, print, compare, refuse."""

from __future__ import annotations

import copy
import enum
import pickle
import weakref
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compactor import PID, Process
from compactor.actor.routes import split_path
from compactor.pid import NOBODY, check_id


class Place(str, enum.Enum):
    IP = "192.0.2.7"
    ID = "slave(1)"


class Port(int, enum.Enum):
    PORT = 5051


def test_members_of_enums_stand_for_their_values() -> None:
    pid = PID(Place.IP, Port.PORT, Place.ID)

    assert str(pid) == "slave(1)@192.0.2.7:5051"
    assert pid.as_url() == "http://192.0.2.7:5051/slave(1)"
    assert [type(part) for part in (pid.ip, pid.port, pid.id)] == [str, int, str]


def test_pid_parses_what_it_prints() -> None:
    pid = PID.from_string("slave(1)@192.0.2.7:5051")

    assert (pid.id, pid.ip, pid.port) == ("slave(1)", "192.0.2.7", 5051)
    assert str(pid) == "slave(1)@192.0.2.7:5051"
    assert repr(pid) == "PID(192.0.2.7, 5051, slave(1))"


@pytest.mark.parametrize(
    ("text", "pid"),
    [
        ("x@[::1]:5050", PID("::1", 5050, "x")),
        ("@127.0.0.1:1", PID("127.0.0.1", 1, "")),
        ("x@host.example.org:65535", PID("host.example.org", 65535, "x")),
        (" x@127.0.0.1:0\n", PID("127.0.0.1", 0, "x")),
        ("x@[127.0.0.1]:7", PID("127.0.0.1", 7, "x")),
    ],
)
def test_pid_parses_addresses_of_all_kinds(text: str, pid: PID) -> None:
    assert PID.from_string(text) == pid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "x@host",
        "x@:5050",
        "x@127.0.0.1:",
        "x@127.0.0.1:port",
        "x@127.0.0.1:-1",
        "x@127.0.0.1:65536",
        "x@127.0.0.1:5050:1",
        "x@::1:5050",
        "x@[]:5050",
        "x y@127.0.0.1:5050",
        "x@y@127.0.0.1:5050",
        "x@127.0.0.1:\u0665",
        pytest.param("x@127.0.0.1:" + "9" * 5000, id="5000 digits"),
        "x\r\n@127.0.0.1:1",
        "\0@127.0.0.1:1",
        "http://127.0.0.1:5050/x",
    ],
)
def test_text_that_is_no_pid_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid PID"):
        PID.from_string(text)


@pytest.mark.parametrize("pid", [None, b"x@127.0.0.1:1", 5, PID("127.0.0.1", 1, "x")], ids=repr)
def test_only_a_str_is_parsed(pid: Any) -> None:
    with pytest.raises(TypeError, match="str"):
        PID.from_string(pid)


@pytest.mark.parametrize(
    ("ip", "port", "id_", "error"),
    [
        (None, 1, "x", TypeError),
        ("", 1, "x", ValueError),
        ("a\r\nb", 1, "x", ValueError),
        ("[::1]", 1, "x", ValueError),
        ("http://a", 1, "x", ValueError),
        ("127.0.0.1", "1", "x", TypeError),
        ("127.0.0.1", None, "x", TypeError),
        ("127.0.0.1", 1.5, "x", TypeError),
        ("127.0.0.1", True, "x", TypeError),
        ("127.0.0.1", -1, "x", ValueError),
        ("127.0.0.1", 65536, "x", ValueError),
        ("127.0.0.1", 1, None, TypeError),
        ("127.0.0.1", 1, b"x", TypeError),
        ("127.0.0.1", 1, "a b", ValueError),
        ("127.0.0.1", 1, "a\0b", ValueError),
        ("127.0.0.1", 1, "a@b", ValueError),
    ],
)
def test_parts_that_cannot_be_used_are_refused(
    ip: Any, port: Any, id_: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        PID(ip, port, id_)


def test_refusal_of_an_id_names_the_id_and_the_character() -> None:
    with pytest.raises(ValueError, match=r"'a\\nb' must not contain '\\n'"):
        check_id("a\nb")


def test_id_that_utf8_cannot_encode_is_refused() -> None:
    with pytest.raises(ValueError, match="id"):
        check_id("\ud800")


def test_pids_are_equal_by_value_and_hash_alike() -> None:
    pid = PID("127.0.0.1", 1, "x")

    assert pid == PID("127.0.0.1", 1, "x")
    assert hash(pid) == hash(PID("127.0.0.1", 1, "x"))
    for other in (PID("127.0.0.2", 1, "x"), PID("127.0.0.1", 2, "x"), PID("127.0.0.1", 1, "y")):
        assert pid != other
    assert pid != None  # noqa: E711  (pesos compares so)


def test_pids_are_ordered_by_ip_port_and_id() -> None:
    pids = [PID(ip, port, id_) for ip in ("1", "2") for port in (1, 2) for id_ in ("a", "b")]

    assert sorted(set(pids)) == pids
    assert pids[0] <= pids[0] < pids[1] >= pids[1] > pids[0]
    with pytest.raises(TypeError):
        pids[0] < "x"  # noqa: B015


def test_pid_is_immutable() -> None:
    pid = PID("127.0.0.1", 1, "x")

    with pytest.raises(AttributeError, match="immutable"):
        pid.port = 2
    with pytest.raises(AttributeError, match="immutable"):
        del pid.ip
    assert str(pid) == "x@127.0.0.1:1"


def test_pid_survives_pickle_and_copy() -> None:
    pid = PID("::1", 1, "x")

    assert pickle.loads(pickle.dumps(pid)) == pid
    assert copy.deepcopy({"a": [pid]}) == {"a": [pid]}


def test_ipv6_pid_prints_brackets() -> None:
    pid = PID("2001:db8::1", 5050, "x")

    assert str(pid) == "x@[2001:db8::1]:5050"
    assert pid.as_url("y") == "http://[2001:db8::1]:5050/x/y"


def test_pid_as_url_takes_an_endpoint() -> None:
    pid = PID("127.0.0.1", 5050, "x")

    assert pid.as_url() == "http://127.0.0.1:5050/x"
    assert pid.as_url("ping") == "http://127.0.0.1:5050/x/ping"
    assert pid.address == ("127.0.0.1", 5050)
    assert str(NOBODY) == "@0.0.0.0:0"


@pytest.mark.parametrize(
    ("id_", "path"),
    [("slave(1)", "slave(1)"), ("a+b", "a%2Bb"), ("a/b?#%", "a%2Fb%3F%23%25"), ("\xe9", "%C3%A9")],
)
def test_pid_as_url_escapes_what_a_path_would_not_keep(id_: str, path: str) -> None:
    assert PID("127.0.0.1", 5050, id_).as_url("ping") == f"http://127.0.0.1:5050/{path}/ping"
    assert split_path(f"/{path}/ping".encode()) == (id_, "ping")


@example("127.0.0.1", 1, "\xa0x")
@example("::1", 1, "\u2003")
@given(
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str),
    st.integers(0, 65535),
    st.text(),
)
def test_every_pid_that_can_be_made_parses_back(ip: str, port: int, id_: str) -> None:
    try:
        pid = PID(ip, port, id_)
    except ValueError:
        return
    assert PID.from_string(str(pid).encode().decode()) == pid


@given(st.text(alphabet=st.sampled_from("@:[]. %()\x85\xa0/a1"), max_size=12))
def test_parsing_raises_nothing_but_value_error(text: str) -> None:
    try:
        PID.from_string(text)
    except ValueError:
        return


def test_no_process_may_have_an_empty_name() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        Process("")


def test_pids_can_be_weakly_referenced() -> None:
    pid = PID("127.0.0.1", 5050, "a")
    known = weakref.WeakKeyDictionary({pid: "known"})

    assert known[PID("127.0.0.1", 5050, "a")] == "known"
    assert weakref.ref(pid)() is pid
