"""/metrics: the formats of Prometheus, checked by its own parsers, by promtool, and by a server."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compactor import PID, Context, Process, install
from compactor.metrics.catalog import CATALOG
from tests.actors import wait_until
from tests.endpoints.asking import fetch
from tests.ports import own_port

pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")

from compactor.endpoints.prometheus import Collector, name_of

OPEN = "application/openmetrics-text; version=1.0.0"


class Worker(Process):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.metrics.gauge("depth", lambda: 3)

    @install("work")
    def work(self, from_pid: PID, body: bytes) -> None:
        with self.metrics.timer("parse"):
            self.metrics.counter("jobs/done").add()


def parsed(text: str, is_open: bool = False) -> dict[tuple[str, str], float]:
    """The samples by name and labels, as the parsers of Prometheus read them."""
    from prometheus_client import parser
    from prometheus_client.openmetrics import parser as open_parser

    parse: Any = open_parser if is_open else parser
    return {
        (sample.name, json.dumps(sample.labels, sort_keys=True)): sample.value
        for family in parse.text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("is_open", [False, True])
def test_both_formats_say_what_the_snapshot_says(
    make_context: Callable[..., Context], is_open: bool
):
    context = make_context()
    pid = context.spawn(Worker('worker "1"\\'.replace(" ", "")))
    for _ in range(3):
        context.send(pid, pid, "work", b"")
    context.send(pid, pid, "nothing", b"")
    wait_until(lambda: context.metrics.snapshot()["dead_letters"])
    answer = fetch(context, "/metrics", accept=OPEN if is_open else "*/*")
    assert answer.status == 200
    assert str(answer.type).startswith(OPEN.partition(";")[0] if is_open else "text/plain")
    assert answer.text.endswith("# EOF\n") is is_open
    assert answer.text.count("# EOF") == is_open
    seen = parsed(answer.text, is_open)
    one = json.dumps({"process": pid.id})
    assert seen["compactor_process_events_handled_total", one] >= 4
    assert seen["compactor_process_messages_in_total", one] == 4
    assert seen["compactor_user_jobs_done_total", one] == 3
    assert seen["compactor_user_depth", one] == 3
    assert seen["compactor_user_parse_seconds_count", one] == 3
    assert seen["compactor_dead_letters_total", '{"reason": "no handler"}'] == 1
    assert seen["compactor_connections", '{"state": "accepted"}'] == 1
    assert seen["compactor_handler_seconds_bucket", '{"le": "+Inf"}'] >= 1
    assert seen["compactor_asks_total", '{"outcome": "answered"}'] == 0


def test_every_metric_has_a_name_of_its_own():
    names = [name_of(each) for each in CATALOG if not each.label]
    assert len(set(names)) == len(names)


def test_registries_of_programs_can_have_them(make_context: Callable[..., Context]):
    from prometheus_client import CollectorRegistry, generate_latest

    context = make_context()
    registry = CollectorRegistry()
    registry.register(Collector(context.metrics))  # type: ignore[arg-type]
    assert b"compactor_processes 0.0" in generate_latest(registry)


def test_without_the_package_the_answer_says_what_to_install(
    make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "prometheus_client.exposition", None)
    answer = fetch(make_context(), "/metrics")
    assert answer.status == 501
    assert "install compactor[metrics]" in answer.text


def test_processes_that_disagree_about_a_name_spoil_nothing(make_context: Callable[..., Context]):
    context = make_context()
    one, other = Process("one"), Process("other")
    one.metrics.counter("jobs").add(2)
    other.metrics.gauge("jobs").set(5)
    context.spawn(one)
    context.spawn(other)
    seen = parsed(fetch(context, "/metrics", accept=OPEN).text, is_open=True)
    assert [key for key in seen if "user_jobs" in key[0]] == [
        ("compactor_user_jobs_total", '{"process": "one"}')
    ]


def test_promtool_finds_nothing_to_improve(make_context: Callable[..., Context]):
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on this machine: apt install prometheus")
    context = make_context()
    pid = context.spawn(Worker("worker"))
    context.send(pid, pid, "work", b"")
    context.send(pid, pid, "nothing", b"")
    context.send(pid, PID("127.0.0.1", own_port(), "gone"), "work", b"")
    wait_until(lambda: context.metrics.snapshot()["dial_failures"])
    text = fetch(context, "/metrics").body
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[list[int]], Any]]:
    """Starts a Prometheus that scrapes ports of this host; returns what asks it."""
    if shutil.which("prometheus") is None:
        pytest.skip("no Prometheus on this machine: apt install prometheus")
    started: list[subprocess.Popen[bytes]] = []

    def start(ports: list[int]) -> Callable[[str], Any]:
        home: Path = tmp_path_factory.mktemp("prometheus")
        targets = ", ".join(f"'127.0.0.1:{port}'" for port in ports)
        (home / "prometheus.yml").write_text(
            "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
            f"scrape_configs: [{{job_name: c, static_configs: [{{targets: [{targets}]}}]}}]\n"
        )
        port = own_port()
        with (home / "log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    [
                        "prometheus",
                        f"--config.file={home}/prometheus.yml",
                        f"--storage.tsdb.path={home}/data",
                        f"--web.listen-address=127.0.0.1:{port}",
                    ],
                    stdout=log,
                    stderr=log,
                )
            )

        def query(text: str) -> Any:
            url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    return json.load(answer)["data"]["result"]
            except OSError:
                return []  # it has not begun to listen

        return query

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_real_prometheus_scrapes_two_contexts_and_answers(
    prometheus: Callable[[list[int]], Callable[[str], Any]],
):
    contexts = [Context(ip="127.0.0.1", port=own_port()) for _ in range(2)]
    for number, context in enumerate(contexts, 1):
        context.start()
        pid = context.spawn(Worker(f"worker({number})"))
        for _ in range(10 * number):
            context.send(pid, pid, "work", b"")
    query = prometheus([context.port for context in contexts])
    deadline = time.monotonic() + 60
    text = "sum by (process) (compactor_user_jobs_done_total)"
    found: dict[str, str] = {}
    while found != {"worker(1)": "10", "worker(2)": "20"} and time.monotonic() < deadline:
        found = {row["metric"]["process"]: row["value"][1] for row in query(text)}
        time.sleep(0.1)
    assert found == {"worker(1)": "10", "worker(2)": "20"}
    assert query("sum(compactor_process_events_handled_total) >= 30")
    assert query("histogram_quantile(0.99, sum by (le) (compactor_handler_seconds_bucket)) > 0")
    assert [row["value"][1] for row in query("up")] == ["1", "1"]
    for context in contexts:
        context.stop()
        context.join(10)
