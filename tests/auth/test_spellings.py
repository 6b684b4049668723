"""No spelling of a path leads around a lock, nor does any method."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compactor import Context, Process, Request, answer, route
from compactor.auth import Access, Basic
from tests.actors import TIMEOUT
from tests.raw import read_until_end

MakeContext = Callable[..., Context]

METHODS = ["GET", "HEAD", "POST", "OPTIONS", "PROPFIND"]
RIGHT = "Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"


class Web(Process):
    def __init__(self) -> None:
        super().__init__("web")
        self.served: list[str] = []

    @route("/locked", realm="ro")
    def locked(self, request: Request) -> str:
        self.served.append(request.uri)
        return "served"

    @route("/items/{item}", realm="ro")
    def item(self, request: Request) -> str:
        self.served.append(request.uri)
        return "served"

    @route("/off")
    def off(self, request: Request) -> str:
        self.served.append(request.uri)
        return "served"

    @route("/judged")
    def judged(self, request: Request) -> str:
        self.served.append(request.uri)
        return "served"

    @answer("asked", realm="ro")
    def asked(self, from_pid: Any, body: bytes) -> bytes:
        self.served.append("asked")
        return b"served"


def spellings(rest: str) -> Iterator[str]:
    """What may be taken for ``/web/<rest>``; the process is the delegate, too."""
    hexed = f"%{ord(rest[0]):02x}{rest[1:]}"
    yield from (f"/web/{rest}", f"//web/{rest}", f"/web//{rest}", f"/web/{rest}/", f"/web/{rest}//")
    yield from (f"/web/./{rest}", f"/./web/{rest}", f"/x/../web/{rest}", f"/web/%2e/{rest}")
    yield from (f"/web%2f{rest}", f"/web/%2f{rest}", f"/%2fweb/{rest}", f"/web/{rest}%2f")
    yield from (f"/web/{rest}/..", f"/web/{rest}/below/%2e%2e", f"/web/{rest}/below")
    yield from (f"/web/{rest.upper()}", f"/WEB/{rest}", f"/%77eb/{rest}", f"/%57eb/{rest}")
    yield from (f"/web/{hexed}", f"/web/{hexed.upper()}", f"/web/%25{hexed[1:]}")
    yield from (f"/web/{rest};x=1", f"/web/{rest}?x", f"/web/{rest}#x", f"/web/{rest}%3f")
    yield from (f"/web/{rest}%00", f"/web/{rest}%20", f"/web/{rest}%c0%af", f"/web\\{rest}")
    yield from (f"/{rest}", f"//{rest}", f"/{hexed}", f"/{rest}/below", f"web/{rest}")
    yield from (f"http://a/web/{rest}", f"HTTP://a//web/{rest}", f"http:///web/{rest}")
    yield from (f"http://b/{rest}", f"//b/web/{rest}", f"/web%40/{rest}", f"*/web/{rest}")


def ask(context: Context, method: str, target: str, more: str = "") -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{more}"
    made = socket.create_connection((context.ip, context.port), timeout=TIMEOUT)
    with contextlib.closing(made) as sock:
        sock.sendall(f"{head}Content-Length: 2\r\n\r\nhi".encode())
        return read_until_end(sock)


@pytest.mark.parametrize("rest", ["locked", "items/7", "off", "judged", "asked"])
def test_no_spelling_of_a_path_leads_around_a_lock(make_context: MakeContext, rest: str) -> None:
    access = Access(
        {"ro": Basic({"user": "secret"})},
        authorizers={"/web/judged": lambda request, principal: False},
        disabled_endpoints=["/web/off"],
    )
    web = Web()
    context = make_context(access=access, delegate="web")
    context.spawn(web)
    for method in METHODS:
        for target in spellings(rest):
            said = ask(context, method, target)
            assert (web.served, b"served" in said) == ([], False), (method, target)
    is_for_some = rest not in ("off", "judged")
    assert (b"served" in ask(context, "POST", f"/web/{rest}", RIGHT)) == is_for_some
