"""A real Apache Mesos 1.11.0: how its library is made to run, and how peers are started from it.

The package ``mesos.scheduler`` on PyPI is for Python 2.7 and carries all of Mesos, statically
linked with C++ libprocess, in one library.  Its scheduler driver, given the master ``local``,
starts master and agent in the same operating system process.  The library asks for OpenSSL 1.0
and an old libcurl; ``stand_ins.py`` makes what stands in for them.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from . import stand_ins
from .programs import (
    TIMEOUT,
    Program,
    Unavailable,
    home_of,
    pip,
    prepared_once,
    python27,
)

VERSION = "1.11.0"
POLL_SECONDS = 0.05

_PROGRAM = Path(__file__).with_name("mesos_program.py")


@dataclass(frozen=True)
class Mesos:
    """A prepared Mesos library.

    Attributes:
        home: the folder that it was prepared in.
        python: the Python 2.7 to run it.
    """

    home: Path
    python: str

    @property
    def shared_object(self) -> Path:
        """The library that Mesos is in."""
        return self.home / "site" / "mesos" / "scheduler" / "_scheduler.so"

    @property
    def stand_ins(self) -> Path:
        """The folder of what stands in for old libraries."""
        return self.home / "stand_ins"

    def run(
        self,
        master: str,
        work: Path,
        port: int = 0,
        burst: int = 0,
        more: Mapping[str, str] | None = None,
    ) -> Program:
        """Start a scheduler driver, with its cluster if ``master`` is ``local``.

        Args:
            master: pid of the master, or ``local``.
            work: a folder for its files.
            port: port to listen on; 0 is any.
            burst: how many messages to send to the agent of the first offer.
            more: variables of the environment.
        """
        work.mkdir(parents=True, exist_ok=True)
        environ = {
            "LIBPROCESS_IP": "127.0.0.1",
            "LIBPROCESS_PORT": str(port),
            "LD_LIBRARY_PATH": str(self.stand_ins),
            "PYTHONPATH": str(self.home / "site"),
            "MESOS_WORK_DIR": str(work / "work"),
            "MESOS_RUNTIME_DIR": str(work / "run"),
            **(more or {}),
        }
        return Program([self.python, _PROGRAM, master, str(burst)], environ, work / "mesos.log")

    def descriptors(self) -> dict[str, descriptor_pb2.FileDescriptorProto]:
        """Mesos' own descriptors, by file name: the library carries them as serialized bytes."""
        data = self.shared_object.read_bytes()
        found = {}
        for match in re.finditer(rb"\n([\x05-\x60])([a-z_0-9/]+\.proto)", data):
            name = match[2][: match[1][0]]
            if name.endswith(b".proto"):
                try:
                    file = descriptor_pb2.FileDescriptorProto.FromString(
                        data[match.start() : _end_of_descriptor(data, match.start())]
                    )
                except DecodeError:
                    continue
                found[file.name] = file
        return found


def _end_of_descriptor(data: bytes, start: int) -> int:
    """Where a FileDescriptorProto stops: at the first byte that starts none of its fields."""
    position = start
    while True:
        tag = data[position]
        is_text = tag & 7 == 2 and 1 <= tag >> 3 <= 12
        is_number = tag in (10 << 3, 11 << 3)  # public_dependency, weak_dependency
        if not (is_text or is_number) or (tag == 0x0A and position != start):
            return position
        size, position = _varint(data, position + 1)
        position += size if is_text else 0


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


@dataclass
class Cluster:
    """A running master and agent.

    Attributes:
        program: their operating system process.
        port: the port they listen on.
        tls: how to connect, where they speak TLS.
    """

    program: Program
    port: int
    tls: ssl.SSLContext | None = None

    @property
    def master(self) -> str:
        """The pid of the master."""
        return f"master@127.0.0.1:{self.port}"

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of an HTTP request to the master."""
        connection = (
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
            if self.tls is None
            else http.client.HTTPSConnection(
                "localhost", self.port, timeout=TIMEOUT, context=self.tls
            )
        )
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def state(self) -> dict[str, Any]:
        """What the master knows; empty as long as it is not elected."""
        try:
            status, body = self.get("/master/state")
        except OSError:
            return {}
        state: dict[str, Any] = json.loads(body) if status == 200 else {}
        return state

    def framework(self, framework_id: str) -> dict[str, Any]:
        """What the master knows of a framework; empty if it knows none of that id."""
        frameworks = self.state().get("frameworks", [])
        return next((found for found in frameworks if found["id"] == framework_id), {})

    def wait_until_ready(self) -> None:
        """Wait until the master is elected and knows its agent."""
        deadline = time.monotonic() + TIMEOUT
        while not self.state().get("activated_slaves"):
            if not self.program.is_alive or time.monotonic() > deadline:
                log = self.program.log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"the cluster does not come up; its log: {log}")
            time.sleep(POLL_SECONDS)


def prepare() -> Mesos:
    """Fetch Mesos and make it run here; done once per machine.

    Raises:
        Unavailable: this machine lacks something.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise Unavailable("Mesos' library is for Linux on x86-64")
    mesos = Mesos(home_of("COMPACTOR_MESOS_HOME", "~/.cache/compactor-mesos"), python27())
    for tool in ("gcc", "objdump", "ldd"):
        if shutil.which(tool) is None:
            raise Unavailable(f"no {tool}, which makes the stand-ins for OpenSSL 1.0 and libcurl")
    with prepared_once(mesos.home, VERSION) as is_missing:
        if is_missing:
            _fetch(mesos)
    with prepared_once(mesos.stand_ins, stand_ins.VERSION) as is_missing:
        if is_missing:
            stand_ins.make(mesos.shared_object, mesos.stand_ins)
    linked = subprocess.run(
        ["ldd", mesos.shared_object],
        capture_output=True,
        text=True,
        env=dict(os.environ, LD_LIBRARY_PATH=str(mesos.stand_ins)),
    )
    if missing := re.findall(r"(\S+) => not found", linked.stdout):
        raise Unavailable(f"missing {', '.join(missing)}: apt install libsvn1 libapr1 libsasl2-2")
    return mesos


def _fetch(mesos: Mesos) -> None:
    download, site = mesos.home / "download", mesos.home / "site"
    # The archive holds no source: pip saves it, then fails to make sense of it.
    fetched = pip(
        mesos.python, "download", "--no-deps", "--no-binary", ":all:", "--dest", download,
        f"mesos.scheduler=={VERSION}.linux-x86_64",
    )  # fmt: skip
    archives = list(download.glob("mesos.scheduler-*.tar.gz"))
    if not archives:
        raise Unavailable(f"mesos.scheduler could not be downloaded: {fetched.stderr[-300:]}")
    installed = pip(
        mesos.python, "install", "--target", site, "--upgrade",
        f"mesos.interface=={VERSION}", "protobuf==3.17.3", "six==1.17.0",
    )  # fmt: skip
    if installed.returncode:
        raise Unavailable(f"mesos.interface could not be installed: {installed.stderr[-300:]}")
    with tarfile.open(archives[0]) as archive:
        inside = "/mesos/scheduler/"
        for member in archive.getmembers():
            if member.isfile() and inside in member.name:
                target = site / "mesos" / "scheduler" / member.name.split(inside)[-1]
                target.parent.mkdir(parents=True, exist_ok=True)
                content = archive.extractfile(member)
                assert content is not None
                target.write_bytes(content.read())
    for package in ("mesos", "google"):
        (site / package / "__init__.py").touch()
