"""The files of examples/deploy, checked by the tools that read them; nothing is deployed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("click")

from compactor.cli.commands.serve import serve
from compactor.workers.plan import check_ports, check_target

DEPLOY = Path(__file__).parents[1] / "examples" / "deploy"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # where Debian has them

pytestmark = pytest.mark.skipif(not DEPLOY.exists(), reason="these tests stand outside the tree")


def tool(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


def check(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def yaml_of(name: str) -> list[Any]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def test_kubernetes_takes_all_of_it() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    parts = yaml_of("kubernetes.yaml")
    for part in parts:
        for version in ("1.27", "1.33"):
            validate.validate(part, version, strict=True)
    kinds = [part["kind"] for part in parts]
    assert kinds == ["Service", "Service", "StatefulSet", "PodDisruptionBudget"]
    headless, _, pods, budget = parts
    assert headless["spec"]["clusterIP"] == "None"
    assert pods["spec"]["serviceName"] == headless["metadata"]["name"]
    labels = pods["spec"]["template"]["metadata"]["labels"]
    assert all(labels == part["spec"]["selector"] for part in parts[:2])
    assert budget["spec"]["selector"]["matchLabels"] == labels
    (container,) = pods["spec"]["template"]["spec"]["containers"]
    assert {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("readiness", "liveness")} == {
        "parent"
    }


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "shop.service").read_text()
    program = "/opt/shop/.venv/bin/compactor"
    assert program in text
    unit = tmp_path / "shop.service"
    unit.write_text(text.replace(program, "/bin/true").replace("/opt/shop", "/tmp"))
    check(tool("systemd-analyze"), "verify", "--man=no", str(unit))


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    program = tool("nginx")
    more = f"error_log stderr; pid {tmp_path}/nginx.pid;"
    text = (DEPLOY / "nginx.conf").read_text()
    places = "".join(
        f"  {kind}_temp_path {tmp_path}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    conf = tmp_path / "nginx.conf"
    conf.write_text(text.replace("http {\n", "http {\n  access_log off;\n" + places))
    check(program, "-t", "-q", "-p", str(tmp_path), "-c", str(conf), "-g", more)


def test_haproxy_takes_its_configuration() -> None:
    check(tool("haproxy"), "-c", "-f", str(DEPLOY / "haproxy.cfg"))


def commands() -> dict[str, list[str]]:
    """The arguments of ``compactor serve`` in each file."""
    container = yaml_of("kubernetes.yaml")[2]["spec"]["template"]["spec"]["containers"][0]
    (compose,) = yaml_of("compose.yaml")
    nomad = (DEPLOY / "shop.nomad.hcl").read_text()
    (listed,) = re.findall(r"args = \[(.*?)\]", nomad, re.DOTALL)
    unit = (DEPLOY / "shop.service").read_text()
    marathon = json.loads((DEPLOY / "marathon.json").read_text())
    return {
        "kubernetes": [*container["command"][1:], *container["args"]],
        "compose": compose["services"]["shop"]["command"][1:],
        "nomad": json.loads(f"[{listed.strip().rstrip(',')}]"),
        "systemd": shlex.split(re.findall(r"^ExecStart=\S+ (.*)$", unit, re.MULTILINE)[0]),
        "marathon": shlex.split(marathon["cmd"].partition("compactor ")[2]),
    }


def test_all_of_them_run_a_command_that_there_is() -> None:
    for where, (name, *args) in commands().items():
        assert name == "serve", where
        known = [re.sub(r"\$\{?\w+\}?", "5051", arg) for arg in args]
        given = serve.make_context("serve", known).params
        assert check_target(given["make"]) == "shop:make"
        assert len(check_ports(given["ports"], given["count"])) >= given["count"], where
        assert given["drain"] == 10, where


def test_all_of_them_wait_for_long_enough() -> None:
    waits = {
        "kubernetes.yaml": r"terminationGracePeriodSeconds: (\d+)",
        "shop.service": r"TimeoutStopSec=(\d+)",
        "shop.nomad.hcl": r"kill_timeout = \"(\d+)s\"",
        "marathon.json": r"\"taskKillGracePeriodSeconds\": (\d+)",
        "compose.yaml": r"stop_grace_period: (\d+)s",
    }
    for name, pattern in waits.items():
        (seconds,) = re.findall(pattern, (DEPLOY / name).read_text())
        assert int(seconds) >= 2 * 10 + 20, name
    assert set(waits) < {path.name for path in DEPLOY.iterdir()}


def test_the_page_names_each_file() -> None:
    page = (DEPLOY / "README.md").read_text()
    files = {path.name for path in DEPLOY.iterdir() if path.is_file()} - {"README.md"}
    assert files == set(re.findall(r"\]\(([\w.]+)\)", page))
