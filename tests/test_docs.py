"""What the documentation shows runs, prints what it says, and agrees with the code.

A ```python block is run in an OS process of its own.  HTML comments above a block say more:
``<!-- continues -->`` it is run behind the block before it; ``<!-- output -->`` above a ```text
block: this is what the block before it prints; ``<!-- not run: why -->`` it is not run.
"""

from __future__ import annotations

import hashlib
import os
import pkgutil
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import compactor
from compactor import Reason, Settings
from compactor.settings import _VARIABLES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGES.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

SECONDS = 60
FIRST_EXAMPLES = "af0c73d07e5a1de14417a6dc8140a5e5d893ae8bf8f26d3281c2432e527d5462"
BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^>]*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

# The protobuf example imports a module that its reader has made with protoc.  "..." stands there
# for the fields of a message, so here it makes a message that has some.
SERVICE_PB2 = """
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

file = descriptor_pb2.FileDescriptorProto(name="service.proto", package="service")
for name in ("ServiceRequestMessage", "ServiceResponseMessage"):
    message = file.message_type.add(name=name)
    message.field.add(name="text", number=1, type=9, label=1)
pool = descriptor_pool.DescriptorPool()
pool.Add(file)


def message_class(name):
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"service.{name}"))


ServiceRequestMessage = message_class("ServiceRequestMessage")
Response = message_class("ServiceResponseMessage")


def ServiceResponseMessage(fields):
    assert fields is ...
    return Response(text="served")
"""

USE_OF_SERVICE = """
import queue
from compactor import Context
from service_pb2 import Response

answers = queue.Queue()

class Client(ProtobufProcess):
  @ProtobufProcess.install(Response)
  def response(self, from_pid, message):
    answers.put((from_pid.id, message.text))

context = Context()
service = context.spawn(Service('service'))
client = Client('client')
context.spawn(client)
client.send(service, ServiceRequestMessage(text='please'))
print(answers.get(timeout=10))
"""


class Program(NamedTuple):
    """Blocks that are run together, and what they print if the page tells."""

    place: str
    source: str
    output: str | None


def programs(page: Path) -> list[Program]:
    found: list[Program] = []
    text = page.read_text("utf-8")
    runs = False
    for block in BLOCK.finditer(text):
        note, language, source = block["note"] or "", block["language"], block["text"]
        if language == "python":
            runs = not note.startswith("not run: ")
            if note == "continues":
                before = found.pop()
                found.append(before._replace(source=f"{before.source}\n{source}"))
            elif runs:
                line = text.count("\n", 0, block.start("text"))
                found.append(Program(f"{page.name}:{line}", source, None))
        elif note == "output":
            assert runs
            found.append(found.pop()._replace(output=source))
    return found


PROGRAMS = [program for page in PAGES for program in programs(page)]


def run(program: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a program; one that finds its port taken is tried again for a while."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environ = {n: v for n, v in os.environ.items() if not n.startswith(("LIBPROCESS_", "SSL_"))}
    environ |= {"LIBPROCESS_IP": "127.0.0.1", "PYTHONPATH": path}
    end = time.monotonic() + SECONDS
    while True:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(program)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=directory,
            env=environ,
        )
        if "cannot listen on" not in done.stderr or time.monotonic() > end:
            return done
        time.sleep(0.5)


def check(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert " failed in " not in done.stderr


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.place)
def test_block_runs_and_prints_what_the_page_says(program, tmp_path):
    (tmp_path / "service_pb2.py").write_text(SERVICE_PB2)
    (tmp_path / "block.py").write_text(program.source, "utf-8")
    done = run(tmp_path / "block.py", tmp_path)
    check(done)
    if program.output is not None:
        assert done.stdout == program.output


def test_protobuf_example_serves(tmp_path):
    (example,) = (p for p in PROGRAMS if "from service_pb2 import" in p.source)
    (tmp_path / "service_pb2.py").write_text(SERVICE_PB2)
    (tmp_path / "block.py").write_text(example.source + USE_OF_SERVICE)
    done = run(tmp_path / "block.py", tmp_path)
    check(done)
    assert done.stdout == "('service', 'served')\n"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(example, tmp_path):
    done = run(example, tmp_path)
    check(done)
    assert done.stdout
    assert done.stderr == ""


def test_migration_page_has_the_examples_of_the_first_compactor_word_for_word():
    text = (ROOT / "docs" / "migrating.md").read_text("utf-8").partition("## The first examples")[2]
    examples = "".join(block["text"] for block in BLOCK.finditer(text))
    assert hashlib.sha256(examples.encode()).hexdigest() == FIRST_EXAMPLES


def test_there_is_something_to_run():
    assert {program.place.split(":")[0] for program in PROGRAMS} >= {
        "README.md",
        "api.md",
        "contexts.md",
        "getting-started.md",
        "http.md",
        "index.md",
        "links.md",
        "migrating.md",
        "processes.md",
        "protobuf.md",
        "tls.md",
    }
    assert len(EXAMPLES) >= 4


def test_readme_has_the_two_lines_for_a_bare_machine():
    readme = (ROOT / "README.md").read_text("utf-8")
    for end in (".venv/bin/compactor demo", ".venv/bin/pytest"):
        lines = [line for line in readme.splitlines() if line.endswith(end)]
        assert len(lines) == 1
        assert lines[0].startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_settings_page_lists_every_setting_with_its_default():
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| (.*) \|$", page, re.MULTILINE)
    listed = [row for row in rows if not row[0].startswith("LIBPROCESS_")]
    assert listed == [(x.name, repr(x.default), x.reason) for x in Settings().describe()]


@pytest.mark.parametrize("page", ["README.md", "docs/settings.md"])
def test_variables_are_listed_with_their_arguments(page):
    text = (ROOT / page).read_text("utf-8")
    rows = re.findall(r"^\| `(LIBPROCESS_\w+)` \| `(\w+)` \|", text, re.MULTILINE)
    assert rows == [(name, field) for name, field, _ in _VARIABLES]


def test_every_bound_has_its_line_among_the_limits():
    page = (ROOT / "docs" / "guarantees.md").read_text("utf-8").partition("## Bounds")[2]
    rows = re.findall(r"^\| (`.*`) \| .* \|$", page, re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    bounds = [x.name for x in Settings().describe() if type(x.default) in (int, float)]
    assert sorted(listed) == sorted(set(bounds) - {"port"})


def test_landing_page_begins_with_twelve_lines_of_code_that_say_what_they_print():
    first = programs(ROOT / "docs" / "index.md")[0]
    assert len([line for line in first.source.splitlines() if line]) == 12
    assert "async def" in first.source
    assert first.output


def test_comparison_has_the_figures_of_the_performance_page():
    page = (ROOT / "docs" / "comparison.md").read_text("utf-8")
    measured = (ROOT / "docs" / "performance.md").read_text("utf-8")
    tables = "".join(re.findall(r"^\|.*\|$", page, re.MULTILINE))
    figures = re.findall(r"\| ([\d.,]+)(?: msg/s| us)? (?=\|)", tables)
    assert len(figures) > 10
    for figure in figures:
        assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?!\d|[.,]\d)", measured), figure


def test_llms_txt_lists_each_page():
    """As https://llmstxt.org describes: a title, a summary, and lists of links."""
    text = (ROOT / "docs" / "llms.txt").read_text("utf-8")
    assert re.match(r"# compactor\n\n> \S.*\n\n", text)
    listed = re.findall(r"^- \[[^]]+\]\(_sources/([\w-]+\.md)\.txt\): \S", text, re.MULTILINE)
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"changes.md"}
    assert len(listed) == len(pages)
    assert set(listed) == pages


def test_each_public_class_has_an_example_in_the_reference():
    parts = (ROOT / "docs" / "api.md").read_text("utf-8").split("\n## ")[1:]
    described = {"__version__"}
    described |= {name for name in compactor.__all__ if hasattr(compactor.errors, name)} - {
        "Reason"
    }
    for part in parts:
        assert "```python" in part, part.splitlines()[0]
        directives = r"^\.\. (?:autoclass|autofunction|function):: compactor\.(\w+)(?![\w.])"
        described.update(re.findall(directives, part, re.MULTILINE))
    assert described == set(compactor.__all__)


def test_every_reason_is_explained():
    pages = "".join((ROOT / "docs" / name).read_text("utf-8") for name in ("links.md", "flow.md"))
    for reason in Reason:
        assert f"| `{reason}` |" in pages


def test_the_reference_names_what_there_is():
    names = re.findall(r"^\.\. auto\w+:: (\S+)$", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    assert names
    for name in names:
        pkgutil.resolve_name(name)


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
