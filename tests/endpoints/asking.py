"""How tests ask endpoints, and what a C++ libprocess has answered."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any, NamedTuple

from compactor import Context
from tests.actors import TIMEOUT

RECORDED = Path(__file__).parents[1] / "captures" / "endpoints"


class Answer(NamedTuple):
    """What was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def type(self) -> str | None:
        return self.headers.get("content-type")


def fetch(
    context: Context, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> Answer:
    """What a context answers.

    Args:
        headers: further ones; in their names ``_`` stands for ``-``.
    """
    connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)
    try:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, fields)
        response = connection.getresponse()
        lines = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, lines, response.read())
    finally:
        connection.close()


def recorded(name: str) -> Answer:
    """What a C++ libprocess has answered."""
    head, _, body = (RECORDED / f"{name}.txt").read_bytes().partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = [line.partition(": ") for line in lines]
    return Answer(int(first.split()[1]), {n.lower(): v for n, _, v in fields}, body)
