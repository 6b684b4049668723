"""Nobody can hide a request from us, or from a proxy before us: what our decoder accepts, h11 and
httptools (llhttp) understand as the same requests, or refuse.

The corpus is what request smuggling is made of: two lengths, hidden codings, odd chunk sizes, line
ends, blanks and versions.  What we refuse is safe: nothing of it is delivered.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactor.runtime import hot_path
from tests.backends import kinds

h11 = pytest.importorskip("h11")
try:
    import httptools
except ImportError:
    httptools = None

Requests = list[tuple[str, bytes, bytes]]  # method, target, body

CORPUS = {
    "CL.TE": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGGET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
    ),
    "TE.CL": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"
        b"5c\r\n"
    ),
    "two CL": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "two same CL": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab"
    ),
    "CL list": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nab",
    "CL plus": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nab",
    "CL minus": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nab",
    "CL hex": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\nab",
    "CL underscore": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n0123456789",
    "CL space inside": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 0\r\n\r\n0123456789",
    "CL empty": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\nab",
    "CL zeros": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0002\r\n\r\nab",
    "CL huge": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551618\r\n\r\nab",
    "CL arabic": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \xd9\xa2\r\n\r\nab",
    "CL space before colon": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 2\r\n\r\nab",
    "CL tab before colon": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 2\r\n\r\nab",
    "CL folded": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 2\r\n\r\nab",
    "X folded": (
        b"POST / HTTP/1.1\r\nHost: a\r\nX: a\r\n Content-Length: 2\r\nContent-Length: 1\r\n\r\nab"
    ),
    "first line space": b"POST / HTTP/1.1\r\n Content-Length: 2\r\nHost: a\r\n\r\nab",
    "TE xchunked": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE chunked, identity": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"
    ),
    "TE identity, chunked": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"
    ),
    "TE identity": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nab"
    ),
    "TE gzip, chunked": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    ),
    "TE twice": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n"
    ),
    "TE twice chunked": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "TE vtab": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "TE tab": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
    "TE nul": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n",
    "TE quoted": b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "TE case": (
        b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-ENCODING: cHuNkEd\r\n\r\n1\r\na\r\n0\r\n\r\n"
    ),
    "TE empty": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\nContent-Length: 2\r\n\r\nab"
    ),
    "TE param": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "TE space before colon": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"
    ),
    "TE leading space name": (
        b"POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "TE underscore": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
        b"0\r\n\r\n"
    ),
    "TE on 1.0": (
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    ),
    "TE trailing comma": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"
    ),
    "TE+CL 0": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\na\r\n0\r\n\r\n"
    ),
    "bare LF lines": b"POST / HTTP/1.1\nHost: a\nContent-Length: 2\n\nab",
    "bare LF TE": b"POST / HTTP/1.1\r\nHost: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare CR in value": b"POST / HTTP/1.1\r\nHost: a\r\nX: a\rContent-Length: 2\r\n\r\nab",
    "bare CR line": (
        b"POST / HTTP/1.1\r\nHost: a\r\nX: a\rTransfer-Encoding: chunked\r\nContent-Length: 2\r\n"
        b"\r\nab"
    ),
    "LF in value": b"POST / HTTP/1.1\r\nHost: a\r\nX: a\nContent-Length: 2\r\n\r\nab",
    "nul in value": b"POST / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nab",
    "nul in name": b"POST / HTTP/1.1\r\nHost: a\r\nContent-\x00Length: 2\r\n\r\nab",
    "empty name": b"POST / HTTP/1.1\r\nHost: a\r\n: x\r\nContent-Length: 2\r\n\r\nab",
    "no colon": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length 2\r\n\r\nab",
    "high name": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length\xa0: 2\r\n\r\nab",
    "chunk plus": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n"
    ),
    "chunk 0x": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n"
    ),
    "chunk minus": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n"
    ),
    "chunk underscore": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1_0\r\n"
        b"0123456789abcdef\r\n0\r\n\r\n"
    ),
    "chunk leading space": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 1\r\na\r\n0\r\n\r\n"
    ),
    "chunk trailing space": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n"
    ),
    "chunk empty size": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\na\r\n0\r\n\r\n"
    ),
    "chunk ext": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n\r\n"
    ),
    "chunk asks": (
        b"POST /__req_res__/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1;a=17\r\na\r\n0\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0;r=18\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n"
    ),
    "chunk ext twice": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1;a=1;a=2\r\na\r\n0\r\n\r\n"
    ),
    "chunk ext size": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1;a=5\r\na\r\n0;a=5\r\n\r\nabcde"
    ),
    "chunk ext hides": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0;a=1\r\nX: y\r\n\r\n"
    ),
    "chunk ext long": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1;a=" + b"9" * 1200 + b"\r\na\r\n0\r\n\r\n"
    ),
    "chunk ext LF": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x\na\r\n0\r\n\r\n"
    ),
    "chunk ext CR": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x\ry\r\na\r\n0\r\n\r\n"
    ),
    "chunk LF": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n",
    "chunk no CRLF after data": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naX0\r\n\r\n"
    ),
    "chunk data too long": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"
    ),
    "chunk overflow": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000001\r\n"
        b"a\r\n0\r\n\r\n"
    ),
    "chunk zeros": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0001\r\na\r\n000\r\n\r\n"
    ),
    "trailers": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        b"Content-Length: 5\r\n\r\n"
    ),
    "trailer smuggle": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        b"GET /admin HTTP/1.1\r\n\r\n"
    ),
    "last chunk CR": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\rX",
    "GET body": (
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabGET /x HTTP/1.1\r\nHost: a\r\n"
        b"\r\n"
    ),
    "pipelined": b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "pipelined post": (
        b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPOST /2 HTTP/1.1\r\n"
        b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\nGET /3 HTTP/1.1\r\n"
        b"Host: a\r\n\r\n"
    ),
    "after close": (
        b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
    ),
    "after 1.0": b"GET /1 HTTP/1.0\r\nHost: a\r\n\r\nGET /2 HTTP/1.0\r\nHost: a\r\n\r\n",
    "upgrade": (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        b"Content-Length: 2\r\n\r\nab"
    ),
    "CONNECT": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "h2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "0.9": b"GET /\r\n\r\n",
    "0.9 version": b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    "version 1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "version 2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "version 1.10": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "version lower": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "version 01.1": b"GET / HTTP/01.1\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in path": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "tab in line": b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "trailing space line": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "leading space": b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "leading CRLF": b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute": b"GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "star": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "nul in path": b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "lower method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "unknown method": b"FROB / HTTP/1.1\r\nHost: a\r\n\r\n",
    "expect": (
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab"
    ),
    "method override": (
        b"POST / HTTP/1.1\r\nHost: a\r\nX-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n"
    ),
}

MUST_BE_REFUSED = set(CORPUS) - {
    *("CL zeros", "TE tab", "TE case", "TE underscore", "TE on 1.0", "bare LF lines", "bare LF TE"),
    *(
        "LF in value",
        "chunk ext",
        "chunk asks",
        "chunk ext twice",
        "chunk LF",
        "chunk zeros",
        "GET body",
        "pipelined",
    ),
    *("pipelined post", "after close", "after 1.0", "upgrade", "version 1.2"),
    *("leading CRLF", "absolute", "star", "expect", "method override"),
}

KNOWN_DIFFERENCES = {
    # libprocess delivers what comes behind the last request that it answers, so we do.
    "after close": {"h11"},
    "after 1.0": {"h11"},
    # We never switch protocols: the upgrade is ignored, as RFC 9110 allows.
    "upgrade": {"httptools"},
    # The same target, spelled in another way.
    "absolute": {"h11", "httptools"},
}


def ours(data: bytes, kind: str) -> tuple[Requests, str | None]:
    """The requests that our decoder finds, and why it refuses the rest."""
    decoder = hot_path.backend(kind).RequestDecoder(80 * 1024, 1 << 20)
    events: list[Any] = decoder.feed(data)
    found = []
    for head, body in zip(events[::2], events[1::2], strict=True):
        target = bytes(head.path) + (b"?" + bytes(head.query) if head.query else b"")
        found.append((str(head.method), target, bytes(body)))
    return found, None if decoder.error is None else str(decoder.error)


def by_h11(data: bytes) -> tuple[Requests, str | None]:
    """The requests that h11 finds, and why it refuses the rest."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=200_000)
    found: Requests = []
    method, target, body = "", b"", b""
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                method, target, body = event.method.decode(), bytes(event.target), b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                found.append((method, target, body))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    return found, None
                connection.start_next_cycle()
            else:
                return found, None
    except h11.ProtocolError as error:
        return found, str(error)


class Collector:
    """What httptools calls back."""

    def __init__(self) -> None:
        self.found: Requests = []
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.url = self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.found.append((self.parser.get_method().decode(), self.url, self.body))


def by_httptools(data: bytes) -> tuple[Requests, str | None]:
    """The requests that httptools finds, and why it refuses the rest."""
    collector = Collector()
    try:
        collector.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        return collector.found, None
    except httptools.HttpParserError as error:
        return collector.found, str(error)
    return collector.found, None


PEERS = {"h11": by_h11} if httptools is None else {"h11": by_h11, "httptools": by_httptools}


KINDS = kinds()


def differing(data: bytes, kind: str) -> set[str]:
    """The peers that accept some bytes, and understand them in another way than we do."""
    found, error = ours(data, kind)
    peers = set()
    for name, parse in PEERS.items():
        theirs, refusal = parse(data)
        shortest = min(len(found), len(theirs))
        is_complete = error is not None or refusal is not None or len(found) == len(theirs)
        if found[:shortest] != theirs[:shortest] or not is_complete:
            peers.add(name)
    return peers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CORPUS)
def test_what_we_accept_others_understand_alike_or_refuse(case: str, kind: str) -> None:
    assert differing(CORPUS[case], kind) == KNOWN_DIFFERENCES.get(case, set()) & set(PEERS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", sorted(MUST_BE_REFUSED))
def test_ambiguous_requests_are_refused(case: str, kind: str) -> None:
    assert ours(CORPUS[case], kind)[1] is not None


def test_a_difference_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "h11", lambda data: ([("GET", b"/", b"")], None))
    assert "h11" in differing(CORPUS["pipelined"], KINDS[0])


LINES = st.sampled_from(
    [
        *(b"Content-Length: %b" % n for n in (b"0", b"1", b"5", b"05", b"+5", b"5 ", b"5, 5", b"")),
        *(
            b"Transfer-Encoding: %b" % c
            for c in (b"chunked", b"Chunked ", b"identity", b"x, chunked")
        ),
        *(b"Content-Length : 5", b"Transfer-Encoding\t: chunked", b" Transfer-Encoding: chunked"),
        *(b"\tfolded", b"X: y", b"X:", b"Content_Length: 5", b"Host: b", b"Expect: 100-continue"),
    ]
)
ENDS = st.sampled_from([b"\r\n"] * 18 + [b"\n", b"\r"])
BODIES = st.sampled_from(
    [
        *(b"", b"a", b"abcde", b"0\r\n\r\n", b"1\r\na\r\n0\r\n\r\n", b"5;x\r\nabcde\r\n0\r\n\r\n"),
        *(
            b"1 \r\na\r\n0\r\n\r\n",
            b"1\na\n0\n\n",
            b"0\r\nX: y\r\n\r\n",
            b"1;a=1\r\na\r\n0\r\n\r\n",
            *(b"0;r=5\r\n\r\n", b"5;a=1;a=2\r\nabcde\r\n0\r\n\r\n", b"1;a=1\na\r\n0\r\n\r\n"),
            b"01\r\na\r\n000\r\n\r\n",
        ),
        b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """One or two requests, made of what is ambiguous."""
    data = b""
    for _ in range(draw(st.integers(1, 2))):
        data += draw(st.sampled_from([b"POST", b"GET"])) + b" /a HTTP/1.1" + draw(ENDS) + b"Host: a"
        for line in draw(st.lists(LINES, max_size=2)):
            data += draw(ENDS) + line
        data += draw(ENDS) + draw(ENDS) + draw(BODIES)
    return data


@settings(max_examples=1000, deadline=None)
@given(data=streams(), kind=st.sampled_from(KINDS))
def test_random_streams_of_ambiguous_parts_are_understood_alike_or_refused(
    data: bytes, kind: str
) -> None:
    assert differing(data, kind) == set()
