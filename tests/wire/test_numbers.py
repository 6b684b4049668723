"""The number of an ask behind the size of its chunk: what counts as one, and what it then means."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactor.pid import NOBODY, PID, Temporary, number_in, number_of, temporary_of
from compactor.runtime import hot_path
from compactor.wire.encoder import encode_message, encode_numbered, message_prefix
from tests.backends import EACH_KIND, kinds
from tests.fuzz.streams import NOISE, cut, edited
from tests.wire.test_decoder import ASKED, every_way
from tests.wire.test_families import FIELDS, all_said, decoder_of

READER = PID("10.0.0.2", 31000, "reader")
STORE = PID("10.0.0.1", 5050, "store")
ASK = message_prefix(READER, STORE, "get")
ANSWER = message_prefix(STORE, PID("10.0.0.2", 31000, "__req_res__"), "get")
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def frame(prefix: bytes, extension: bytes, body: bytes = b"key") -> bytes:
    end = b"\r\n0\r\n\r\n" if body else b"\r\n"
    return prefix + CHUNKED + b"%x%b\r\n" % (len(body), extension) + body + end


def heads_of(kind: str, *pieces: bytes) -> list[Any]:
    decoder = decoder_of(kind)
    heads = [head for piece in pieces for head in decoder.feed(piece)[::2]]
    assert decoder.error is None
    return heads


PLAIN = {
    "another name": b";x=17",
    "no value": b";a=",
    "no number": b";a=x7",
    "negative": b";a=-1",
    "signed": b";a=+1",
    "huge": b";a=" + b"9" * 21,
    "quoted": b';a="17"',
    "twice": b";a=17;a=18",
    "asks and answers": b";a=17;r=18",
    "with another": b";a=17;x=y",
    "behind another": b";x;a=17",
    "blanks": b"; a=17",
    "blank behind": b";a=17 ",
    "upper case": b";A=17",
    "underscore": b";a=1_0",
    "other digits": b";a=\xd9\xa1",
}


@pytest.mark.parametrize("kind", EACH_KIND)
@pytest.mark.parametrize("body", [b"key", b""])
@pytest.mark.parametrize("case", PLAIN)
def test_what_is_no_number_is_ignored(case: str, body: bytes, kind: str) -> None:
    for prefix in (ASK, ANSWER):
        for extension in (PLAIN[case], PLAIN[case].replace(b"a=", b"r=")):
            known = decoder_of(kind)
            known.feed(frame(prefix, b";a=5", body) + frame(prefix, b";r=5", body))
            stream = frame(prefix, extension, body)
            said = all_said(known, stream)
            assert said == all_said(decoder_of(kind), frame(prefix, b"", body))
            assert said[2:] == ("None", False)


@pytest.mark.parametrize("kind", EACH_KIND)
@pytest.mark.parametrize("case", ASKED)
def test_asks_and_answers_are_understood_in_any_split(case: str, kind: str) -> None:
    stream, bodies = ASKED[case]
    said = [
        [(head.path, head.sender) for head in heads_of(kind, *pieces)]
        for pieces in every_way(stream)
    ]
    assert all(found == said[0] for found in said)
    assert len(set(said[0])) == len(bodies)
    assert all_said(decoder_of(kind), stream)[1] == bodies


@pytest.mark.parametrize("kind", EACH_KIND)
@pytest.mark.parametrize("body", [b"key", b"", b"k" * 70_000])
@pytest.mark.smoke
def test_a_number_that_asks_makes_the_sender_a_temporary_pid(kind: str, body: bytes) -> None:
    numbers = [b"17", b"0", b"007", b"9" * 20, b"18"]
    stream = b"".join(frame(ASK, b";a=" + number, body) for number in numbers)
    for pieces in ([stream], [stream[:400], stream[400:]]):
        heads = heads_of(kind, *pieces)
        assert [head.path for head in heads] == [b"/store/get"] * len(numbers)
        for head, number in zip(heads, numbers, strict=True):
            assert isinstance(head.sender, Temporary)
            assert head.sender == PID("10.0.0.2", 31000, f"__req_res__({number.decode()})")
            assert head.sender.asker == READER


@pytest.mark.parametrize("kind", EACH_KIND)
def test_a_number_means_what_a_temporary_pid_in_the_head_does(kind: str) -> None:
    temporary = PID("10.0.0.2", 31000, "__req_res__(17)")
    long_forms = message_prefix(temporary, STORE, "get"), message_prefix(STORE, temporary, "get")
    for prefix, extension, long_form in zip(
        (ASK, ANSWER), (b";a=17", b";r=17"), long_forms, strict=True
    ):
        (head,) = heads_of(kind, frame(prefix, extension))
        (other,) = heads_of(kind, frame(long_form, b""))
        for field in set(FIELDS) - {"headers", "size"}:
            assert getattr(head, field) == getattr(other, field), field


@pytest.mark.parametrize("kind", EACH_KIND)
def test_whoever_asks_without_a_process_is_not_known(kind: str) -> None:
    prefix = message_prefix(PID("10.0.0.2", 31000, ""), STORE, "get")
    (head,) = heads_of(kind, frame(prefix, b";a=17"))
    assert head.sender.id == "__req_res__(17)"
    assert head.sender.asker is None


@pytest.mark.parametrize("kind", EACH_KIND)
@pytest.mark.parametrize("body", [b"key", b""])
def test_a_number_that_answers_is_in_the_path(kind: str, body: bytes) -> None:
    stream = b"".join(frame(ANSWER, b";r=%d" % number, body) for number in (5, 17))
    heads = heads_of(kind, stream)
    assert [head.path for head in heads] == [b"/__req_res__(5)/get", b"/__req_res__(17)/get"]
    assert [head.path_text for head in heads] == ["/__req_res__(5)/get", "/__req_res__(17)/get"]
    assert {head.sender for head in heads} == {STORE}


@pytest.mark.parametrize("kind", EACH_KIND)
def test_an_answer_for_a_process_is_a_message(kind: str) -> None:
    for path in (b"/store/get", b"/__req_res__(5)/get", b"/__req_res__", b"/"):
        prefix = ASK.replace(b"/store/get", path)
        (head,) = heads_of(kind, frame(prefix, b";r=17"))
        assert head.path == path


@pytest.mark.parametrize("kind", EACH_KIND)
def test_requests_and_messages_of_nobody_do_not_ask(kind: str) -> None:
    request = b"POST /store/get HTTP/1.1\r\nHost: x\r\n"
    nobody = ASK.replace(b"Libprocess-From: reader@", b"Libprocess-From: reader ")
    heads = heads_of(kind, frame(request, b";a=17") + frame(nobody, b";a=17"))
    assert [head.sender for head in heads] == [None, NOBODY]


@pytest.mark.parametrize("kind", EACH_KIND)
def test_sizes_with_numbers_are_not_remembered(kind: str) -> None:
    package = hot_path.PACKAGES[kind]
    decoder = __import__(f"{package}.wire.body_decoder", fromlist=["checked_sizes"])
    before = len(decoder.checked_sizes)
    heads_of(kind, b"".join(frame(ASK, b";x=%d" % number) for number in range(50)))
    assert len(decoder.checked_sizes) <= before + 2  # that of the body, and the end


MAKERS = st.builds(
    frame,
    st.sampled_from([ASK, ANSWER, message_prefix(temporary_of(STORE, b"3", None), STORE, "a")]),
    st.one_of(
        st.sampled_from([b"", *PLAIN.values()]),
        st.integers(0, 10**20).map(lambda number: b";a=%d" % number),
        st.integers(0, 10**20).map(lambda number: b";r=%d" % number),
    ),
    st.one_of(st.binary(max_size=20), st.just(b"k" * 300)),
)


@given(
    st.lists(MAKERS, min_size=1, max_size=4),
    st.lists(
        st.tuples(
            st.integers(0, 2000), st.integers(0, 3), st.sampled_from([*NOISE, b"00", b"1", b"F"])
        ),
        max_size=2,
    ),
    st.lists(st.integers(0, 3000), max_size=4),
    st.sampled_from(kinds()),
    st.sampled_from([200, 12, 1 << 20]),
)
@settings(max_examples=300, deadline=None)
def test_numbers_are_read_alike_the_fast_and_the_slow_way(
    frames: list[bytes], changes: Any, cuts: list[int], kind: str, most: int
) -> None:
    stream = edited(b"".join(frames), changes)
    whole = decoder_of(kind, 80 * 1024, most)
    heads, bodies, error, unfinished = all_said(whole, stream)
    slow = decoder_of(kind, 80 * 1024, most)
    found: list[Any] = []
    for byte in cut(stream, range(len(stream) + 1)):  # no frame is ever there as a whole
        said = all_said(slow, byte)
        found += zip(*said[:2], strict=True)
    assert found == list(zip(heads, bodies, strict=True))
    assert (str(slow.error) == "None", slow.unfinished > 0) == (error == "None", unfinished)
    split = decoder_of(kind, 80 * 1024, most)
    for piece in cut(stream, cuts):
        said = all_said(split, piece)
        found = (
            found[len(said[0]) :]
            if found[: len(said[0])] == list(zip(*said[:2], strict=True))
            else [None]
        )
    assert not found


@pytest.mark.parametrize("kind", EACH_KIND)
@pytest.mark.parametrize("number", [0, 9, 10, 17, 2**63 - 1])
@pytest.mark.parametrize("body", [b"", b"k", b"k" * 15, b"k" * 16, b"k" * 600, bytearray(b"ab")])
def test_frames_with_a_number_are_encoded_alike(kind: str, number: int, body: Any) -> None:
    encoder = __import__(f"{hot_path.PACKAGES[kind]}.wire.encoder", fromlist=["append_numbered"])
    buffer = bytearray(encode_message(ASK, b"before"))
    wanted = frame(ASK, b";a=%d" % number, bytes(body))
    assert encode_numbered(ASK, b"a", number, body) == wanted
    before = bytes(buffer)
    assert encoder.append_numbered(buffer, ASK, b"a", number, body) == len(wanted)
    assert buffer == before + wanted
    assert encoder.encode_numbered(ASK, b"r", number, body) == wanted.replace(b";a=", b";r=")


@pytest.mark.parametrize(
    ("id_", "number"),
    [
        ("__req_res__(17)", 17),
        ("__req_res__(0)", 0),
        ("__req_res__(017)", -1),
        ("__req_res__()", -1),
        ("__req_res__(-1)", -1),
        ("__req_res__(1", -1),
        ("__req_res__(17]", -1),
        ("__req_res__(\u0661)", -1),
        ("__req_res__(" + "9" * 20 + ")", -1),
        ("reader", -1),
        ("", -1),
    ],
)
def test_only_a_number_in_our_spelling_is_one(id_: str, number: int) -> None:
    assert number_of(id_) == number


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize(
    ("digits", "number"),
    [
        (b"0", 0),
        (b"17", 17),
        (b"017", -1),
        (b"9223372036854775808", 2**63),
        (b"9" * 19, 10**19 - 1),
        (b"9" * 20, -1),
    ],
)
def test_temporary_pid_knows_its_number(kind: str, digits: bytes, number: int) -> None:
    pid = import_module(f"{hot_path.PACKAGES[kind]}.pid").temporary_of(STORE, digits, None)
    assert (pid.number, number_in(pid), number_of(pid.id)) == (number, number, number)
    assert number_in(PID.from_string(str(pid))) == number


@pytest.mark.parametrize("number", [0, 9, 10, 17, 2**63 - 1])
@pytest.mark.parametrize("kind", kinds())
def test_temporary_pid_is_that_of_its_number(kind: str, number: int) -> None:
    pid = hot_path.backend(kind).temporary_at(STORE, number, STORE)
    assert type(pid) is Temporary
    assert (str(pid), pid.number, pid.asker) == (
        f"__req_res__({number})@{STORE.host}",
        number,
        STORE,
    )


@pytest.mark.parametrize("kind", kinds())
def test_head_of_an_answer_tells_its_number_alone(kind: str) -> None:
    answer, ask = decoder_of(kind), decoder_of(kind)
    head, _ = answer.feed(frame(ANSWER, b";r=17"))
    assert (head.answers, head.path) == (17, b"/__req_res__(17)/get")
    assert answer.feed(frame(ANSWER, b";r=017"))[0].answers == -1  # which no ask has
    assert answer.feed(frame(ANSWER, b""))[0].answers is None
    assert ask.feed(frame(ASK, b";a=17"))[0].answers is None
