"""The decoder, sans IO: recorded streams, what C++ accepts, what must be refused, any split."""

from __future__ import annotations

import pathlib
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compactor.pid import NOBODY, PID
from compactor.runtime import hot_path
from compactor.wire.encoder import message_prefix
from compactor.wire.request_head import Head

pytestmark = pytest.mark.usefixtures("backend")

CAPTURES = pathlib.Path(__file__).parents[1] / "captures"
SENDER = PID("127.0.0.1", 16012, "client(1)")
FROM = b"Libprocess-From: client(1)@127.0.0.1:16012\r\n"


def decode(
    *pieces: bytes, header: int = 80 * 1024, body: int = 1 << 20
) -> tuple[list[tuple[Head, bytes]], str | None]:
    decoder = hot_path.chosen.RequestDecoder(header, body)
    flat = [item for piece in pieces for item in decoder.feed(piece)]
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    return pairs, str(decoder.error) if decoder.error else None


def seen(pairs: list[tuple[Head, bytes]]) -> list[tuple[str, bytes, PID | None, bytes]]:
    return [(head.method, head.path, head.sender, body) for head, body in pairs]


def every_way(data: bytes) -> list[list[bytes]]:
    """The whole, byte by byte, and some random splits of the data."""
    ways = [[data], [data[i : i + 1] for i in range(len(data))]]
    rng = random.Random(len(data))
    for _ in range(20):
        cuts = sorted(rng.sample(range(len(data) + 1), min(6, len(data))))
        ways.append([data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)])
    return ways


RECORDED = {
    "compactor-0.3.0-client-to-server.bin": [
        (b"/server(1)/ping", SENDER, b""),
        (b"/server(1)/ping", SENDER, b"hello"),
        (b"/server(1)/binary", SENDER, bytes(range(256))),
    ],
    "mesos-1.11-driver-to-master.bin": 4
    * [
        (
            b"/master/mesos.scheduler.Call",
            PID("127.0.0.1", 16002, "scheduler-e7643c57-78ba-4fa3-8b7d-1d6802b838d6"),
            21,
        )
    ],
    "mesos-1.11-master-to-framework.bin": [
        (
            b"/sched(1)/mesos.internal.FrameworkRegisteredMessage",
            PID("127.0.0.1", 15052, "master"),
            176,
        ),
        (
            b"/sched(1)/mesos.internal.ResourceOffersMessage",
            PID("127.0.0.1", 15052, "master"),
            314,
        ),
    ],
    "libprocess-head-linker-to-server.bin": 5
    * [(b"/server(1)/ping", PID("127.0.0.1", 16022, "linker(1)"), 7)],
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_streams_decode_whole_byte_by_byte_and_in_random_splits(name: str) -> None:
    data = (CAPTURES / name).read_bytes()
    for pieces in every_way(data):
        pairs, error = decode(*pieces)
        assert error is None
        for (method, path, sender, body), expected in zip(seen(pairs), RECORDED[name], strict=True):
            assert method == "POST"
            assert (path, sender) == expected[:2]
            assert expected[2] in (body, len(body))


def test_peers_that_call_themselves_libprocess_want_no_answer() -> None:
    (pair, *_), _ = decode((CAPTURES / "mesos-1.11-driver-to-master.bin").read_bytes())
    assert not pair[0].wants_answer
    (pair, *_), _ = decode((CAPTURES / "compactor-0.3.0-client-to-server.bin").read_bytes())
    assert pair[0].wants_answer


POST = b"POST /a/b HTTP/1.1\r\n" + FROM
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
ANSWER = b"POST /__req_res__/b HTTP/1.1\r\n" + FROM
TEMPORARY = (
    b"POST /a/b HTTP/1.1\r\nUser-Agent: libprocess/__req_res__(%d)@127.0.0.1:16012\r\n"
    b"Libprocess-From: __req_res__(%d)@127.0.0.1:16012\r\n\r\n"
)

# Asks and answers, which have other senders or paths than their heads say.
ASKED = {
    "asks": (POST + CHUNKED + b"2;a=17\r\nhi\r\n0\r\n\r\n", [b"hi"]),
    "two asks, and a message": (
        POST
        + CHUNKED
        + b"2;a=17\r\nhi\r\n0\r\n\r\n"
        + POST
        + CHUNKED
        + b"3;a=9999999999999999999\r\nhey\r\n0\r\n\r\n"
        + POST
        + CHUNKED
        + b"2\r\nho\r\n0\r\n\r\n",
        [b"hi", b"hey", b"ho"],
    ),
    "asks without a body": (POST + CHUNKED + b"0;a=1\r\n\r\n", [b""]),
    "asks in two chunks": (POST + CHUNKED + b"2;a=1\r\nhi\r\n1;a=2\r\na\r\n0\r\n\r\n", [b"hia"]),
    "answers": (ANSWER + CHUNKED + b"2;r=17\r\nhi\r\n0\r\n\r\n", [b"hi"]),
    "answers with nothing": (ANSWER + CHUNKED + b"0;r=17\r\n\r\n", [b""]),
    "asks as C++ does": (TEMPORARY % (1, 1) + TEMPORARY % (22, 22) + TEMPORARY % (3, 3), [b""] * 3),
    "answers as C++ does": (
        POST.replace(b"/a/", b"/__req_res__(1)/")
        + b"\r\n"
        + POST.replace(b"/a/", b"/__req_res__(22)/")
        + b"\r\n",
        [b""] * 2,
    ),
}

# What the table of the wire protocol accepts: the bytes, and the bodies that come of them.
ACCEPTED = {
    "no length": (POST + b"\r\n", [b""]),
    "length": (POST + b"Content-Length: 2\r\n\r\nhi", [b"hi"]),
    "zero length": (POST + b"Content-Length: 0\r\n\r\n", [b""]),
    "leading zeros": (POST + b"Content-Length: 002\r\n\r\nhi", [b"hi"]),
    "empty length": (POST + b"Content-Length: \r\n\r\n", [b""]),
    "one chunk": (POST + CHUNKED + b"2\r\nhi\r\n0\r\n\r\n", [b"hi"]),
    "no chunk": (POST + CHUNKED + b"0\r\n\r\n", [b""]),
    "two chunks": (POST + CHUNKED + b"2\r\nhi\r\n3\r\nabc\r\n0\r\n\r\n", [b"hiabc"]),
    "upper case hex": (POST + CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", [b"0123456789"]),
    "chunk extension": (POST + CHUNKED + b"2;x=y\r\nhi\r\n0;z\r\n\r\n", [b"hi"]),
    "Chunked": (POST + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", [b"hi"]),
    "HTTP/1.0 and chunked": (
        b"POST /a/b HTTP/1.0\r\nUser-Agent: libprocess/client(1)@127.0.0.1:16012\r\n"
        b"Connection: Keep-Alive\r\n" + CHUNKED + b"2\r\nhi\r\n0\r\n\r\n",
        [b"hi"],
    ),
    "HTTP/1.2": (b"POST /a/b HTTP/1.2\r\n" + FROM + b"\r\n", [b""]),
    "empty host": (POST + b"Host: \r\n\r\n", [b""]),
    "two hosts of a message": (POST + b"Host: a\r\nHost: b/c\r\n\r\n", [b""]),
    "line feeds alone": (b"POST /a/b HTTP/1.1\n" + FROM[:-2] + b"\nHost: x\n\n", [b""]),
    "mixed line ends": (b"POST /a/b HTTP/1.1\n" + FROM + b"Host: x\n\r\n", [b""]),
    "leading blank lines": (b"\r\n\n\r\n" + POST + b"\r\n", [b""]),
    "folded header": (POST + b"X: a\r\n b\r\n\r\n", [b""]),
    "unknown header": (POST + b"traceparent: 00-0-0-00\r\n\r\n", [b""]),
    "query": (b"POST /a/b?x=%20 HTTP/1.1\r\n" + FROM + b"\r\n", [b""]),
    "fragment": (b"POST /a/b#c HTTP/1.1\r\n" + FROM + b"\r\n", [b""]),
    "absolute target": (b"POST http://h:1/a/b?c HTTP/1.1\r\n" + FROM + b"\r\n", [b""]),
    "gzip": (POST + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi", [b"hi"]),
    "upgrade alone": (POST + b"Upgrade: h2c\r\n\r\n" + POST + b"\r\n", [b"", b""]),
    "upgrade asked for": (
        POST + b"Connection: Keep-Alive, Upgrade\r\nUpgrade: h2c\r\n\r\n" + POST + b"\r\n",
        [b"", b""],
    ),
    "expect": (POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", [b"hi"]),
    "requests behind a close": (POST + b"Connection: close\r\n\r\n" + POST + b"\r\n", [b"", b""]),
    "pipelined": ((POST + CHUNKED + b"2\r\nhi\r\n0\r\n\r\n") * 5, [b"hi"] * 5),
}


@pytest.mark.parametrize("case", ACCEPTED)
@pytest.mark.smoke
def test_what_libprocess_accepts_is_accepted_in_any_split(case: str) -> None:
    data, bodies = ACCEPTED[case]
    for pieces in every_way(data):
        pairs, error = decode(*pieces)
        assert error is None
        assert seen(pairs) == [("POST", b"/a/b", SENDER, body) for body in bodies]


# What must be refused, and nothing delivered of it.
REFUSED = {
    "both lengths": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nhi\r\n",
    "both lengths, other order": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "signed length": POST + b"Content-Length: +2\r\n\r\nhi",
    "length that is no number": POST + b"Content-Length: two\r\n\r\nhi",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n",
    "chunked, folded, and a length": POST + b"Transfer-Encoding:\r\n chunked\r\n"
    b"Content-Length: 1\r\n\r\n",
    "trailers": POST + CHUNKED + b"2\r\nhi\r\n0\r\nX: y\r\n\r\n",
    "bad chunk size": POST + CHUNKED + b"zz\r\nhi\r\n0\r\n\r\n",
    "0x chunk size": POST + CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n",
    "signed chunk size": POST + CHUNKED + b"+2\r\nhi\r\n0\r\n\r\n",
    "underscore chunk size": POST + CHUNKED + b"0_2\r\nhi\r\n0\r\n\r\n",
    "blank chunk size": POST + CHUNKED + b" 2\r\nhi\r\n0\r\n\r\n",
    "huge chunk size": POST + CHUNKED + b"f" * 17 + b"\r\n",
    "chunk longer than its size": POST + CHUNKED + b"2\r\nhigh\r\n0\r\n\r\n",
    "endless chunk extension": POST + CHUNKED + b"2;" + b"x" * 2000,
    "blank before colon": POST + b"X : y\r\n\r\n",
    "no colon": POST + b"nonsense\r\n\r\n",
    "NUL in a header": POST + b"X: a\0b\r\n\r\n",
    "bare CR": POST + b"X: a\rb\r\n\r\n",
    "8-bit header name": POST + b"X\xff: y\r\n\r\n",
    "HTTP/0.9": b"GET /a\r\n\r\n",
    "HTTP/0.9, spelled out": b"GET /a HTTP/0.9\r\n\r\n",
    "lower case method": b"post /a HTTP/1.1\r\n\r\n",
    "unknown method": b"FOO /a HTTP/1.1\r\n\r\n",
    "other protocol": b"SOURCE /a ICE/1.0\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT": b"CONNECT h:1 HTTP/1.1\r\n\r\n",
    "asterisk of another method": b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/2.0": b"POST /a/b HTTP/2.0\r\n" + FROM + b"\r\n",
    "HTTP/9.9": b"GET /a HTTP/9.9\r\nHost: x\r\n\r\n",
    "no host": b"GET /a HTTP/1.1\r\nX: y\r\n\r\n",
    "no host, later version": b"GET /a HTTP/1.2\r\n\r\n",
    "two hosts": b"GET /a HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n",
    "two hosts of old": b"GET /a HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n",
    "user in a host": b"GET /a HTTP/1.1\r\nHost: u@x\r\n\r\n",
    "path in a host": b"GET /a HTTP/1.1\r\nHost: x/y\r\n\r\n",
    "two hosts in one": b"GET /a HTTP/1.1\r\nHost: x, y\r\n\r\n",
    "no path": b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n",
    "blank in the path": b"GET /a b HTTP/1.1\r\n\r\n",
    "bad escape in the query": b"POST /a/b?%;1 HTTP/1.1\r\n" + FROM + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "garbage": b"\xde\xad\xbe\xef",
    "garbage that looks like words": b"HELLO WORLD",
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.smoke
def test_what_is_malformed_or_ambiguous_is_refused_in_any_split(case: str) -> None:
    for pieces in every_way(REFUSED[case]):
        pairs, error = decode(*pieces)
        assert error
        assert pairs == []


def test_requests_before_malformed_bytes_are_delivered_and_none_after() -> None:
    pairs, error = decode(POST + b"\r\n" + b"nonsense\r\n\r\n" + POST + b"\r\n", POST + b"\r\n")
    assert len(pairs) == 1
    assert error


def test_headers_are_bounded_by_the_limit_of_http_parser() -> None:
    filler = b"X: " + b"y" * (80 * 1024 - len(POST) - len(b"X: \r\n\r\n")) + b"\r\n\r\n"
    assert len(POST + filler) == 80 * 1024
    pairs, error = decode(POST + filler)
    assert len(pairs) == 1
    assert error is None
    pairs, error = decode(POST + b"Z" + filler)
    assert pairs == []
    assert "81920" in str(error)
    _, error = decode(b"POST /" + b"a" * 90_000)
    assert "81920" in str(error)


@pytest.mark.parametrize(
    "start",
    [
        b"Content-Length: 10000000000\r\n\r\n",
        CHUNKED + b"2540be400\r\n",
        CHUNKED + b"80000\r\n" + b"x" * 0x80000 + b"\r\n80001\r\n",
    ],
    ids=["length", "chunk", "chunks"],
)
def test_a_body_beyond_the_limit_is_refused_before_it_arrives(start: bytes) -> None:
    pairs, error = decode(POST + start)
    assert pairs == []
    assert "1048576" in str(error)


@pytest.mark.parametrize("way", ["tiny chunks", "tiny reads"])
def test_a_body_in_tiny_pieces_takes_the_room_of_a_body(way: str) -> None:
    decoder = hot_path.chosen.RequestDecoder(80 * 1024, 1 << 20)
    count = 25_000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        if way == "tiny chunks":
            decoder.feed(POST + CHUNKED)
            for _ in range(100):
                assert decoder.feed(b"2\r\nab\r\n" * (count // 100)) == []
            last = b"0\r\n\r\n"
        else:
            decoder.feed(POST + b"Content-Length: %d\r\n\r\n" % (2 * count + 1))
            for n in range(count):
                assert decoder.feed(bytes([n & 255, 1])) == []
            last = b"c"
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 2 * 2 * count
    _, body = decoder.feed(last)
    assert body == (
        b"ab" * count
        if way == "tiny chunks"
        else b"".join(bytes([n & 255, 1]) for n in range(count)) + b"c"
    )


@pytest.mark.parametrize(
    ("value", "sender"),
    [
        (b"a@1.2.3.4:5", PID("1.2.3.4", 5, "a")),
        (b"@1.2.3.4:5", PID("1.2.3.4", 5, "")),
        (b"@0.0.0.0:0", NOBODY),
        (b"  a@1.2.3.4:5 trailing words", PID("1.2.3.4", 5, "a")),
        (b"a@some.host:5", PID("some.host", 5, "a")),
        (b"a@[::1]:5", PID("::1", 5, "a")),
        (b"nonsense", NOBODY),
        (b"a@b@h:1", NOBODY),
        (b"a@1.2.3.4:99999", NOBODY),
        (b"a@1.2.3.4:", NOBODY),
        (b"", NOBODY),
        (b"\xff@1.2.3.4:5", NOBODY),
    ],
)
def test_senders_parse_or_are_nobody(value: bytes, sender: PID) -> None:
    pairs, error = decode(b"POST /a/b HTTP/1.1\r\nLibprocess-From: " + value + b"\r\n\r\n")
    assert error is None
    assert pairs[0][0].sender == sender


def test_libprocess_from_beats_user_agent_and_the_last_duplicate_wins() -> None:
    pairs, _ = decode(
        b"POST /a/b HTTP/1.1\r\nUser-Agent: libprocess/x@1.1.1.1:1\r\n"
        b"Libprocess-From: y@1.1.1.1:1\r\nlibprocess-from: z@1.1.1.1:1\r\n\r\n"
    )
    assert str(pairs[0][0].sender) == "z@1.1.1.1:1"


def test_only_posts_with_a_sender_are_messages() -> None:
    for start in (
        b"GET /a HTTP/1.1\r\nHost: x\r\n" + FROM,
        b"PUT /a HTTP/1.1\r\nHost: x\r\n" + FROM,
        b"POST /a HTTP/1.1\r\nHost: x\r\nUser-Agent: Libprocess/a@1.1.1.1:1\r\n",
    ):
        pairs, _ = decode(start + b"\r\n")
        assert pairs[0][0].sender is None


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"close", False),
        (b"1.1", b"Close, TE", False),
        (b"1.2", b"", True),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"keep-alive, x", True),
    ],
)
def test_keep_alive_follows_version_and_connection(
    version: bytes, connection: bytes, keeps: bool
) -> None:
    header = b"Connection: " + connection + b"\r\n" if connection else b""
    pairs, _ = decode(b"GET /a HTTP/" + version + b"\r\nHost: x\r\n" + header + b"\r\n")
    assert pairs[0][0].keep_alive is keeps


def test_raw_bytes_in_a_path_pass_as_libprocess_lets_them() -> None:
    pairs, error = decode(b"POST /caf\xc3\xa9\t{}|/n HTTP/1.1\r\n" + FROM + b"\r\n")
    assert error is None
    assert pairs[0][0].path == b"/caf\xc3\xa9\t{}|/n"


ids = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Z")), min_size=1).filter(
    lambda text: "@" not in text and not any(c.isspace() for c in text)
)
names = st.text(st.sampled_from("abcXYZ0189._-/()%+&"), min_size=1)


@given(st.lists(st.tuples(ids, names, st.binary(max_size=300)), min_size=1, max_size=8), st.data())
def test_what_we_encode_we_decode_in_any_split(
    messages: list[tuple[str, str, bytes]], data: st.DataObject
) -> None:
    to = [PID("10.0.0.1", 5050, id_) for id_, _, _ in messages]
    stream = b"".join(
        hot_path.chosen.encode_message(message_prefix(SENDER, pid, name), body)
        for pid, (_, name, body) in zip(to, messages, strict=True)
    )
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=10)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    pairs, error = decode(*pieces)
    assert error is None
    assert [(*hot_path.chosen.split_path(head.path), body) for head, body in pairs] == messages
    assert {head.sender for head, _ in pairs} == {SENDER}


@given(st.binary(max_size=400))
def test_any_bytes_at_all_end_in_requests_an_error_or_a_wait(data: bytes) -> None:
    whole, error = decode(data)
    pieces, split_error = decode(*(data[i : i + 1] for i in range(len(data))))
    assert seen(whole) == seen(pieces)
    assert (error is None) == (split_error is None)


@given(st.data())
def test_mutated_frames_decode_alike_whole_and_split(data: st.DataObject) -> None:
    """The remembered head and the careful way must never disagree."""
    frame = hot_path.chosen.encode_message(
        message_prefix(SENDER, PID("10.0.0.1", 1, "to"), "name"), b"body"
    )
    stream = bytearray(frame * 4)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    whole, error = decode(bytes(stream))
    split, split_error = decode(*(bytes(stream[i : i + 1]) for i in range(len(stream))))
    assert seen(whole) == seen(split)
    assert (error is None) == (split_error is None)


def test_another_head_behind_a_repeated_one_is_found_however_the_stream_is_cut() -> None:
    to = PID("10.0.0.1", 5050, "x")
    repeated, other = message_prefix(SENDER, to, "a"), message_prefix(SENDER, to, "b")
    stream = (
        hot_path.chosen.encode_message(repeated, b"1") * 2
        + hot_path.chosen.encode_message(other, b"") * 2
    )

    for cut in range(len(stream)):
        pairs, error = decode(stream[:cut], stream[cut:])
        assert error is None
        assert [body for _, body in pairs] == [b"1", b"1", b"", b""], f"cut at {cut}"


def test_a_piece_that_looks_like_the_last_message_is_one_only_where_one_may_begin() -> None:
    prefix = message_prefix(SENDER, PID("10.0.0.1", 5050, "x"), "a")
    frame = hot_path.chosen.encode_message(prefix, b"1")
    around = hot_path.chosen.encode_message(prefix, b"2" + frame + b"3")
    begin, end = around.split(frame)
    other = hot_path.chosen.encode_message(prefix, b"4")

    pairs, error = decode(frame, frame, other, begin, frame, end, frame)
    assert error is None
    assert [body for _, body in pairs] == [b"1", b"1", b"4", b"2" + frame + b"3", b"1"]
    pairs, error = decode(frame, b"POST /a?", frame)  # which ends no request line
    assert [body for _, body in pairs] == [b"1"]
    assert error is not None
    pairs, error = decode(frame, b"nonsense\r\n\r\n", frame)
    assert [body for _, body in pairs] == [b"1"]
    assert error is not None


@pytest.mark.parametrize(
    ("heads", "fields"),
    [(80, 990), (200, 190)],
    ids=["large", "of many tiny fields"],
)
def test_heads_that_take_much_memory_are_not_remembered(heads: int, fields: int) -> None:
    """Neither by a connection that goes silent, nor in the cache of the program."""
    blocks = [
        b"GET /a HTTP/1.1\r\nHost: x\r\nx: %d\r\n" % n + b"ab:\r\n" * fields for n in range(heads)
    ]
    decoder = hot_path.chosen.RequestDecoder(80 * 1024 + 1000, 1 << 20)
    decoder.feed(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for block in blocks:
            assert len(decoder.feed(block + b"\r\n")) == 2
        # CPython keeps some 2,000 tuples for later.
        assert tracemalloc.get_traced_memory()[0] - before < 300 * 1024
    finally:
        tracemalloc.stop()
