"""Header fields: httptools and Python read them alike, and both leave no framing in doubt."""

from __future__ import annotations

import pathlib
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactor.errors import RemoteProtocolError
from compactor.wire import fields
from compactor.wire.fields import (
    CHUNKED,
    Fields,
    Reader,
    body_length,
    http_date,
    parse_fields,
    read_in_python,
)
from compactor.wire.request_head import parse_head

CAPTURES = pathlib.Path(__file__).parents[1] / "captures"
# Every block of header fields that was ever recorded.
RECORDED = sorted(
    {
        part.partition(b"\r\n")[2] + b"\r\n\r\n"
        for path in CAPTURES.glob("*.bin")
        for part in path.read_bytes().split(b"\r\n\r\n")
        if b": " in part
    }
)
READERS: dict[str, Reader] = {"python": read_in_python}
if fields.PARSER == "httptools":
    READERS["httptools"] = fields.read_with_httptools

EVERY_BYTE = [bytes([byte]) for byte in range(256)]
TOKEN = b"!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"


def outcome(block: bytes, read: Reader) -> tuple[Fields, int | None] | None:
    """The fields and the length of the body, or None if the block is refused."""
    try:
        found = parse_fields(block, read)
        return found, body_length(found)
    except ValueError:
        return None


@pytest.fixture(params=READERS)
def read(request: pytest.FixtureRequest) -> Reader:
    return READERS[request.param]


ACCEPTED = {
    b"": (),
    b"A: b\r\n": ((b"a", b"b"),),
    b"a:b\r\n": ((b"a", b"b"),),
    b"a:\r\n": ((b"a", b""),),
    b"a: \t b c \t\r\n": ((b"a", b"b c"),),
    b"a: b: c\r\n": ((b"a", b"b: c"),),
    b"a::\r\n": ((b"a", b":"),),
    b"a: b\r\na: c\r\n": ((b"a", b"b"), (b"a", b"c")),
    b"a: b\r\n c\r\n\td\r\n": ((b"a", b"b c\td"),),
    b"a: b \r\n  c\r\n": ((b"a", b"b   c"),),
    b"a:\r\n b\r\n": ((b"a", b"b"),),
    b"a: b\r\n \r\nc: d\r\n": ((b"a", b"b"), (b"c", b"d")),
    b"a: \x01\x0b\x7f\x80\xff\r\n": ((b"a", b"\x01\x0b\x7f\x80\xff"),),
    b"Connection: x,\r\n Upgrade\r\nUpgrade: y\r\n": (
        (b"connection", b"x, Upgrade"),
        (b"upgrade", b"y"),
    ),
}


@pytest.mark.parametrize("lines", ACCEPTED)
def test_names_are_lowered_and_values_stripped_and_unfolded(lines: bytes, read: Reader) -> None:
    assert parse_fields(lines + b"\r\n", read) == ACCEPTED[lines]


LENGTHS = {
    b"X: y\r\n": None,
    b"Content-Length: 5\r\n": 5,
    b"content-length:005 \t\r\n": 5,
    b"Content-Length: 999999999999999999\r\n": 10**18 - 1,
    b"Transfer-Encoding: Chunked\r\n": CHUNKED,
    b"transfer-encoding:\tchunked \t\r\n": CHUNKED,
}


@pytest.mark.parametrize("lines", LENGTHS)
def test_the_length_of_the_body_is_announced_once_and_plainly(lines: bytes, read: Reader) -> None:
    assert body_length(parse_fields(lines + b"\r\n", read)) == LENGTHS[lines]


REFUSED = [
    b"no colon\r\n",
    b"a\r\n",
    b": x\r\n",
    b":\r\n",
    b"a : b\r\n",
    b"a\t: b\r\n",
    b"Content-Length : 5\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Connection : close\r\n",
    b"Content-Length x: 5\r\n",
    b" a: b\r\n",
    b"\ta: b\r\n",
    b"\r\na: b\r\n",
    b"a\r\n : b\r\n",
    b"a: b\0\r\n",
    b"a: b\rc\r\n",
    b"a: b\r\r\n",
    b"a: b\nc: d\r\n",
    b"a: b\n c\r\n",
    b"Content-Length:\r\n",
    b"Content-Length:\r\n 5\r\n",
    b"Content-Length: 5\r\n 6\r\n",
    b"Content-Length: 5\r\n \r\n",
    b"Content-Length: 5\r\nContent-Length: 5\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: 5 5\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: -5\r\n",
    b"Content-Length: 5_0\r\n",
    b"Content-Length: 0x5\r\n",
    b"Content-Length: \x0b5\r\n",
    b"Content-Length: 5\x0b\r\n",
    b"Content-Length: \xb2\r\n",
    b"Content-Length: 1000000000000000000\r\n",
    b"Content-Length: 9999999999999999999\r\n",
    b"Content-Length: 18446744073709551616\r\n",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    b"Transfer-Encoding:\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\x0b\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n",
    b"Transfer-Encoding: chunked\r\n \r\n",
]


@pytest.mark.parametrize("lines", REFUSED)
def test_what_is_no_field_or_leaves_the_framing_in_doubt_is_refused(
    lines: bytes, read: Reader
) -> None:
    assert outcome(lines + b"\r\n", read) is None


def test_names_are_tokens_and_values_all_but_nul_and_line_ends(read: Reader) -> None:
    names = [byte for byte in EVERY_BYTE if outcome(b"a" + byte + b"b: c\r\n\r\n", read)]
    assert b"".join(sorted(names)) == bytes(sorted(TOKEN + b":"))
    values = [byte for byte in EVERY_BYTE if outcome(b"a: b" + byte + b"c\r\n\r\n", read)]
    assert set(EVERY_BYTE) - set(values) == {b"\0", b"\r", b"\n"}


FRAMING = [b"Content-Length", b"content-length", b"Transfer-Encoding", b"TRANSFER-ENCODING"]
OTHERS = [b"Connection", b"Proxy-Connection", b"Upgrade", b"Host", b"X", b"Libprocess-From"]
VALUES = [b"", b"5", b"05", b"5 6", b"chunked", b"Chunked", b"gzip", b"close", b"keep-alive"]
VALUES += [b"upgrade", b"Upgrade, close", b"h2c", b"a@1.2.3.4:5", b"\x01", b"\xff", b"9" * 21]
BLANKS = [b"", b" ", b"\t", b"  ", b" \t "]
ENDS = [b"\r\n"] * 12 + [b"\r\n ", b"\r\n\t", b" \r\n", b"\n", b"\r"]
NOISE = st.one_of(
    st.binary(max_size=4), st.sampled_from([b" ", b":", b"\r\n", b"\r\n ", b",", b"\0"])
)

field_lines = st.builds(
    lambda *parts: b"".join(parts),
    st.one_of(st.sampled_from(FRAMING + OTHERS), st.binary(max_size=3)),
    st.sampled_from([b":"] * 10 + [b" :", b"", b"::"]),
    st.sampled_from(BLANKS),
    st.one_of(st.sampled_from(VALUES), st.binary(max_size=6)),
    st.sampled_from(BLANKS),
    st.sampled_from(ENDS),
)


def mutate(block: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
    """Change some bytes, and leave no blank line but the last."""
    for at, gone, new in cuts:
        at %= len(block) + 1
        block = block[:at] + new + block[at + gone :]
    lines = block.partition(b"\r\n\r\n")[0].strip(b"\r\n")
    return lines + b"\r\n\r\n" if lines else b"\r\n"


blocks = st.builds(
    mutate,
    st.one_of(
        st.lists(field_lines, max_size=5).map(lambda lines: b"".join(lines) + b"\r\n"),
        st.sampled_from(RECORDED),
    ),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), NOISE), max_size=3),
)


@pytest.mark.skipif("httptools" not in READERS, reason="httptools is not installed")
@given(blocks)
@settings(max_examples=1000)
def test_python_reads_what_httptools_reads_and_refuses_what_it_refuses(block: bytes) -> None:
    assert outcome(block, read_in_python) == outcome(block, READERS["httptools"])


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://h:1/a/b?c#d", b"/a/b"),
        (b"HTTP://u:p@h/a", b"/a"),
        (b"http://[::1]:5/a", b"/a"),
        (b"http://[/a", b"/a"),
        (b"http:///a", b"/a"),
        (b"http://h/\xff", b"/\xff"),
        (b"http://h//a;b", b"//a;b"),
        (b"//a/b", b"//a/b"),
        (b"/a://b", b"/a://b"),
        (b"/\xff\t~", b"/\xff\t~"),
    ],
)
def test_targets_in_absolute_form_give_their_path(target: bytes, path: bytes) -> None:
    assert parse_head(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target).path == path


@pytest.mark.parametrize(
    "target",
    [
        b"http://h",
        b"http://h?/a",
        b"http:/a",
        b"://h/a",
        b"h/a",
        b"http://a@b@c/a",
        b"http://\xff/a",
        b"http://h#/a",
        b"1http://h/a",
        b"http://a\\b/c",
        b"*",
        b"/\0",
        b"/\x0c",
        b"/\x7f",
    ],
)
def test_targets_without_a_path_or_with_control_characters_are_refused(target: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_head(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)


@pytest.mark.parametrize("method", [b"QUERY", b"SOURCE", b"PRI", b"get", b""])
def test_methods_are_those_of_http_parser(method: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_head(b"%b / HTTP/1.1\r\n\r\n" % method)


def test_an_empty_length_is_none_but_not_one_that_a_fold_fills() -> None:
    assert parse_head(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n").length == 0
    with pytest.raises(RemoteProtocolError):
        parse_head(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n 5\r\n\r\n")


@given(st.integers(0, 4_000_000_000))
def test_dates_are_written_as_the_standard_library_writes_them(seconds: int) -> None:
    assert http_date(seconds) == formatdate(seconds, usegmt=True)
