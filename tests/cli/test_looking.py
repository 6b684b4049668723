"""``compactor ps``, ``metrics``, ``help`` and ``logs``: what contexts tell, and how it is shown."""

from __future__ import annotations

import itertools
import json
import threading

import pytest

from compactor.cli.at_once import at_once
from compactor.cli.bench.contest import Bench
from compactor.cli.exits import Exit, Fault
from tests.cli.running import command, fails
from tests.cli.servers import reply, serving, telling
from tests.ports import own_port

PROCESSES = [
    {"id": "__reaper__(1)", "events": []},
    {"id": "worker(2)", "events": [{"type": "DISPATCH"}], "pending": 1500},
    {"id": "a/b%", "events": [{"type": "EXITED"}, {"type": "TERMINATE"}]},
]


@pytest.fixture
def compactor_like():
    """A context that has handled ten events more each time that it is asked."""
    handled = itertools.count(100, 10)

    def numbers(head):
        assert "?timeout=" in head
        told = {
            "processes/worker(2)/events_handled": next(handled),
            "processes/worker(2)/handler_failures": 3,
            "processes/worker(2)/mailbox_high_water": 2000,
            "processes/a%2Fb%25/events_handled": 7,
            "messages_in": 12345678,
            "loop_lag_ms/p99": 0.25,
            "dead_letters/no such process": 1,
            "broken": "text",
        }
        return reply("200 OK", json.dumps(told).encode())

    with serving(telling({"/__processes__": PROCESSES, "/metrics/snapshot": numbers})) as host:
        yield host


def test_processes_are_listed_with_rates_and_failures(compactor_like):
    done = command("ps", compactor_like, "--interval", 0.1)
    assert done.exit_code == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["ID", "WAITING", "PEAK", "PER", "S", "HANDLED", "FAILED"]
    cells = [line.split() for line in lines]
    assert [row[0] for row in cells] == ["a/b%", "worker(2)"]
    assert cells[1][1:3] == ["1,500", "2,000"]
    assert 10 < float(cells[1][3].replace(",", "")) <= 100
    assert cells[1][4:] == ["110", "3"]
    assert cells[0][1:] == ["2", "-", "0", "7", "-"]


def test_several_contexts_are_told_apart_and_one_that_is_dead_hides_no_other(compactor_like):
    dead = f"127.0.0.1:{own_port()}"
    done = command("ps", dead, compactor_like, compactor_like, "--interval", 0, "--json", "--all")
    assert done.exit_code == 3
    assert f"nobody listens at {dead}" in done.stderr
    told = json.loads(done.stdout)
    assert [row["id"] for row in told] == ["__reaper__(1)", "a/b%", "worker(2)"] * 2
    handled = [told[at].pop("handled") for at in (2, 5)]
    assert sorted(handled) == [100, 110]  # they are asked at once
    assert told[2] == told[5]
    assert told[2] == {
        "context": compactor_like,
        "id": "worker(2)",
        "waiting": 1500,
        "peak": 2000,
        "rate": None,
        "failures": 3,
        "restarts": None,
        "p99": None,
    }
    assert "CONTEXT" in command("ps", compactor_like, compactor_like, "--interval", 0).stdout


def test_all_contexts_are_asked_at_once():
    """None of these answers before all have been asked, for the first time and for the second."""
    barrier = threading.Barrier(3, timeout=20)

    def numbers(head):
        barrier.wait()
        return reply("200 OK", b'{"processes/worker(2)/events_handled": 1}')

    answer = telling({"/__processes__": PROCESSES, "/metrics/snapshot": numbers})
    with serving(answer) as one, serving(answer) as two, serving(answer) as three:
        done = command("ps", one, two, three, "--interval", 0.1)
    assert done.exit_code == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()[1:]] == ["a/b%", "worker(2)"] * 3


def test_more_contexts_than_are_asked_at_a_time_are_all_told_in_their_order():
    items = range(200)
    fault = Fault(Exit.LOST, "gone")

    def call(item):
        if item == 70:
            raise fault
        return -item

    expected = [fault if item == 70 else -item for item in items]
    assert at_once(call, items) == expected
    with pytest.raises(ZeroDivisionError):
        at_once(lambda item: 1 // item, items)


def test_the_context_of_the_environment_is_meant_where_none_is_given(compactor_like):
    ip, _, port = compactor_like.partition(":")
    env = {"LIBPROCESS_IP": ip, "LIBPROCESS_PORT": port}
    assert "worker(2)" in command("ps", "--interval", 0, env=env).stdout
    assert "give a context, such as " in fails(2, "ps")
    assert "LIBPROCESS_PORT tells of none" in fails(2, "ps", env={"LIBPROCESS_PORT": "x"})


def test_who_counts_nothing_is_listed_all_the_same():
    with serving(telling({"/__processes__": PROCESSES})) as host:
        done = command("ps", host)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0].split() == ["ID", "WAITING"]
    assert "Note: there is no " in done.stderr


def test_json_of_cpp_has_bytes_that_no_json_has():
    """A body with a control character in it, as libprocess writes it."""
    body = rb'[{"id":"web","events":[{"type":"MESSAGE","body":"1\x01\\x02 \"\u00e9"}]}]'
    with serving(telling({"/__processes__": body})) as host:
        assert command("ps", host).stdout.splitlines()[1].split() == ["web", "1"]


@pytest.mark.parametrize(
    "answer",
    [
        *(b"{", b"[" * 100_000, b"[1]", b'"ab"', b'[{"id": 1, "events": 5}]'),
        *(b'[{"id": "a", "events": [], "pending": "x"}]', b'[{"id": 1, "pending": 1e999}]'),
        b'[{"id": 1, "pending": %s}]' % (b"9" * 4200),
        b'[{"id": 1}]',
        b"null",
    ],
)
def test_who_lists_something_else_is_told(answer):
    with serving(telling({"/__processes__": answer})) as host:
        said = fails(7, "ps", host)
    assert "instead of JSON" in said or "does not list processes" in said


def test_ids_cannot_move_the_cursor_or_forge_lines():
    evil = [{"id": "\x1b[2J\nworker", "events": []}]
    with serving(telling({"/__processes__": evil})) as host:
        lines = command("ps", host).stdout.splitlines()
    assert lines[1:] == [r"\x1b[2J\nworker        0"]


def test_json_for_people_cannot_move_the_cursor_either():
    """JSON itself lets most of these stand."""
    evil = "\x1b[2J \x7f \x9b2J \u202e \u2028 \U000e0001 é 😀"
    with serving(telling({"/__processes__": [{"id": evil, "events": []}]})) as host:
        said = command("ps", host, "--json").stdout
    assert json.loads(said)[0]["id"] == evil
    assert said.strip().isprintable()
    assert "é 😀" in said


# Metrics


def test_metrics_are_printed_by_name(compactor_like):
    done = command("metrics", compactor_like)
    lines = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["messages_in"] == "12345678"
    assert lines["loop_lag_ms/p99"] == "0.25"
    assert lines["dead_letters/no such process"] == "1"
    assert list(lines) == sorted(lines)
    assert "broken" not in lines


def test_what_is_no_number_is_left_out():
    none = b'"a": 1e999, "b": NaN, "c": -Infinity, "e": true, "f": null, "g": [1]'
    told = b'{"h": 2, "half": 0.5, "big": ' + b"9" * 400 + b", " + none + b"}"
    with serving(telling({"/metrics/snapshot": told})) as host:
        assert json.loads(command("metrics", host, "--json").stdout) == {"h": 2, "half": 0.5}
        assert command("metrics", host).stdout == "h     2\nhalf  0.5\n"


def test_metrics_are_chosen_by_patterns(compactor_like):
    done = command("metrics", compactor_like, "mess*", "dead*", "--json")
    assert json.loads(done.stdout) == {"messages_in": 12345678, "dead_letters/no such process": 1}
    assert "no metric of" in fails(6, "metrics", compactor_like, "nothing*")


# Help

TEXT = "### USAGE ###\n>        /web/hello\n\n### TL;DR; ###\nSays hello.\n\n\x1b[31m"
HELP = {
    "processes": [
        {
            "id": "web",
            "endpoints": [{"name": "/hello", "text": TEXT}, {"name": "/", "text": ""}],
            "messages": [{"name": "tick", "text": "### TL;DR; ###\nTicks.\n"}],
        },
    ]
}


def test_help_lists_what_is_served_and_handled():
    with serving(telling({"/help": HELP})) as host:
        lines = command("help", host).stdout.splitlines()
        assert [line.split() for line in lines] == [
            ["PATH", "KIND", "SUMMARY"],
            ["/web/hello", "route", "Says", "hello."],
            ["/web", "route"],
            ["/web/tick", "message", "Ticks."],
        ]
        shown = command("help", host, "web/hello").stdout
        assert shown.startswith("### USAGE ###\n>        /web/hello\n")
        assert "\x1b" not in shown
        assert len(json.loads(command("help", host, "/web", "--json").stdout)) == 3
        assert f"{host} has no help on /we" in fails(6, "help", host, "/we")
    for nonsense in ([1], {"processes": ["web"]}, {"processes": [{"endpoints": 5}]}):
        with serving(telling({"/help": nonsense})) as host:
            assert "has no help as libprocess has it" in fails(7, "help", host)


def test_help_without_a_context_is_that_of_the_command():
    assert command("help").stdout == command("--help").stdout


# Logs


def test_more_is_logged_for_a_while():
    asked = []
    level = ["0"]

    def toggle(head):
        line = head.splitlines()[0].removesuffix(" HTTP/1.1")
        asked.append(line)
        if "level=" in line:
            level[0] = line.partition("level=")[2].partition("&")[0]
            if not level[0].isdigit():
                return reply("400 Bad Request", b"Failed to convert 'warning' to number.\n")
            return reply("200 OK")
        return reply("200 OK", f"{level[0]}\n".encode())

    with serving(telling({"/logging/toggle": toggle})) as host:
        assert command("logs", host).stdout == f"{host} logs at level 0 (as configured)\n"
        done = command("logs", host, "--level", "DEBUG", "--for", "5m")
        assert done.stdout == f"{host} logs at level 2 (debug) for 5mins\n"
        done = command("logs", host, "--level", "3", "--for", "1.5h", "--json")
        assert json.loads(done.stdout) == {"context": host, "level": "3", "name": "all"}
        said = fails(2, "logs", host, "--level", "warning")
        assert "does not take that level: Failed to convert 'warning' to number." in said
    assert asked[1] == "POST /logging/toggle?level=2&duration=5mins"
    assert asked[3] == "POST /logging/toggle?level=3&duration=1.5hrs"
    assert asked[5] == "POST /logging/toggle?level=warning&duration=30s".replace("30s", "30secs")


def test_the_level_that_is_told_cannot_move_the_cursor():
    with serving(telling({"/logging/toggle": b"1\x1b[2J\n\x9b2J"})) as host:
        said = command("logs", host).stdout
    assert said.count("\n") == 1
    assert said.strip().isprintable()


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--level", "verbose", "none of info, debug, all, warning, error, critical"),
        ("--level", "4", "no number from 0 to 3"),
        ("--for", "30", "no time such as 30s, 5m or 1h"),
        ("--for", "-1s", "no time such as"),
        ("--for", "1parsec", "no time such as"),
        ("--for", "1s&level=0", "no time such as"),
    ],
)
def test_levels_and_times_that_are_none_are_told(option, value, why):
    assert why in fails(2, "logs", "127.0.0.1:1", f"{option}={value}")


@pytest.mark.parametrize("name", ["ps", "metrics", "help", "logs", "top"])
@pytest.mark.parametrize(
    ("context", "why"),
    [
        ("127.0.0.1", "has no port, or no host"),
        ("ftp://127.0.0.1:1", "is neither http nor https"),
        ("http://127.0.0.1:1/help", "is not of the form"),
        ("::1:5050", "IPv6 address without brackets"),
        (":5050", "has no port, or no host"),
        ("127.0.0.1:0", "nobody listens at port 0"),
    ],
)
def test_a_context_that_is_none_is_told(name, context, why):
    said = fails(2, name, context)
    assert why in said or "has no port, or no host" in said


# What needs no context


@pytest.mark.parametrize(
    ("args", "member"),
    [
        (["version"], "compactor"),
        (["settings"], "settings"),
        (["certs", "certs"], "LIBPROCESS_SSL_KEY_FILE"),
    ],
)
def test_what_prints_data_prints_json(args, member, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if args[0] == "certs":
        pytest.importorskip("cryptography", reason="certificates are made with cryptography")
    assert json.loads(command(*args, "--json").stdout)[member]


def test_measurements_are_data_as_well():
    bench = Bench(1.0, 1, print)
    for each in (bench.floor, *bench.ours):
        each.rates.append(1000.0)
        each.trips.append((5.0, 9.0))
    assert bench.results()[0] == {
        "name": bench.floor.name,
        "messages_per_second": 1000.0,
        "round_trip_us": 5.0,
        "round_trip_p99_us": 9.0,
    }
