"""Programs that others wrote, as clients of routes; each is skipped where it is not installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from compactor import Context, Process, Request, Response, route
from tests.actors import TIMEOUT

SIZE = 3 << 20  # from 1 MiB on, curl asks before it sends a body


class Site(Process):
    """What the clients are answered."""

    @route("/page")
    def page(self, request: Request) -> str:
        return "page"

    @route("/size")
    def size(self, request: Request) -> str:
        return str(len(request.body))

    @route("/deleted")
    def deleted(self, request: Request) -> Response:
        return Response("deleted", 204)

    @route("/same")
    def same(self, request: Request) -> Response:
        return Response("same", 304, headers={"ETag": '"1"'})


@pytest.fixture
def url(make_context: Callable[..., Context]) -> str:
    context = make_context()
    context.spawn(Site("site"))
    return f"http://{context.ip}:{context.port}/site"


def run(program: str, *args: str) -> str:
    """What a program prints."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        (path, *args), capture_output=True, text=True, timeout=3 * TIMEOUT, check=True
    )
    return done.stdout


def test_curl_is_told_at_once_to_send_a_large_body(url: str, tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(bytes(SIZE))
    wanted = ("--data-binary", f"@{path}", "-H", "Expect: 100-continue")
    said = run("curl", "-sS", "-i", "--expect100-timeout", "30", *wanted, f"{url}/size")
    assert said.startswith("HTTP/1.1 100 Continue")
    assert said.endswith(f"\n{SIZE}")


def test_curl_goes_on_behind_answers_without_a_body(url: str) -> None:
    shown = "%{http_code} %{size_download} %{num_connects}\n"
    paths = ("deleted", "page", "same", "page", "deleted")
    wanted = [arg for path in paths for arg in (f"{url}/{path}", "-o", os.devnull)]
    said = run("curl", "-sS", "-w", shown, *wanted)
    assert said.split("\n")[:-1] == ["204 0 1", "200 4 0", "304 0 0", "200 4 0", "204 0 0"]


@pytest.mark.parametrize("keeps", [True, False])
def test_ab_keeps_its_connections_if_it_wants_to(url: str, keeps: bool) -> None:
    said = run("ab", *(["-k"] if keeps else []), "-n", "200", "-c", "4", f"{url}/page")
    assert re.search(r"Complete requests: +200\n", said)
    assert re.search(r"Failed requests: +0\n", said)
    assert bool(re.search(r"Keep-Alive requests: +200\n", said)) is keeps
