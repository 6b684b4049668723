"""docs/errors.md explains every exception, warning and log line from WARNING on, and no other.

They are collected from the source.  A value in a text, ``{x}`` or ``%s``, is ``…`` on the page.
"""

from __future__ import annotations

import ast
import builtins
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import compactor

PACKAGE = Path(compactor.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "errors.md"

TELL = "what is new in the code needs a cause and a remedy in docs/errors.md; what is gone, none"

LEVELS = {"warning", "error", "exception", "critical"}

NAME_THE_RULE = {
    "SettingsError",
    "LocalProtocolError",
    "RemoteProtocolError",
    "NotJson",
    "DoesNotParse",
    "MasterInfoError",
    "MasterUrlError",
    "MissingPackage",
    "ChildError",
    "SimulationError",
    "ClusterUnreachable",
    "ClusterRefused",
    "SessionExpired",
    "TypeError",
    "ValueError",
    "KeyError",
    "AttributeError",
}
"""Their texts name the value and the rule; the page explains the kind."""

OF_THE_SYSTEM = {"OSError", "ConnectionResetError", "ConnectionAbortedError", "MemoryError"}
"""They end in a log line or a reason, and no caller sees them."""

Tree = tuple[ast.Module, dict[ast.AST, ast.FunctionDef]]


@functools.cache
def trees() -> list[Tree]:
    """Each module, and the function that each of its nodes stands in."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        inside: dict[ast.AST, ast.FunctionDef] = {}
        for function in ast.walk(tree):  # outer ones first
            if isinstance(function, ast.FunctionDef):
                inside.update(dict.fromkeys(ast.walk(function), function))
        found.append((tree, inside))
    return found


def text_of(node: ast.expr) -> str:
    """A text as the page has it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = re.sub(r"%[srd]", "…", node.value)
    elif isinstance(node, ast.JoinedStr):
        text = "".join(text_of(part) for part in node.values)
    else:
        text = "…"
    return re.sub(r"…+", "…", text)


def calls(name: str | None = None) -> Iterator[tuple[ast.Call, ast.FunctionDef | None]]:
    """The calls of anything of that name, or of what warns and logs, and where they stand."""
    for tree, inside in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                of = node.func.value
                logs = (
                    isinstance(of, ast.Name)
                    and (of.id == "log" or of.id.endswith("_log"))
                    and node.func.attr in LEVELS
                )
                is_log = logs or ast.unparse(node.func) == "warnings.warn"
                if is_log if name is None else node.func.attr == name:
                    yield node, inside.get(node)


def log_lines() -> set[str]:
    """The lines of the package; where callers give the beginning, one for each of them."""
    found = set()
    for call, function in calls():
        text = text_of(call.args[0])
        beginnings = beginnings_of(call, function) if text.startswith("…") else []
        if not beginnings:
            found.add(text)
        found.update(re.sub("…+", "…", begin + text[1:]) for begin in beginnings)
    return found


def beginnings_of(call: ast.Call, function: ast.FunctionDef | None) -> list[str]:
    """What callers of a function give as the first value of its line."""
    first = call.args[1] if len(call.args) > 1 else None
    if function is None or not isinstance(first, ast.Name):
        return []
    names = [arg.arg for arg in function.args.args if arg.arg != "self"]
    if first.id not in names:
        return []
    given = [caller.args[names.index(first.id) :][:1] for caller, _ in calls(function.name)]
    return [text_of(arg) for args in given for arg in args if not isinstance(arg, ast.Name)]


@functools.cache
def classes() -> set[str]:
    """The exceptions that the package defines."""
    bases = {
        node.name: {ast.unparse(base) for base in node.bases}
        for tree, _ in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {name for name in dir(builtins) if name.endswith(("Error", "Exception"))}
    while more := {name for name in bases if bases[name] & found} - found:
        found |= more
    return found & set(bases)


def messages() -> set[str]:
    """What exceptions say, but those whose texts name the rule that was broken."""
    found = set()
    for tree, _ in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.func.id
                is_error = name in classes() or name.endswith("Error")
                if is_error and name not in NAME_THE_RULE | OF_THE_SYSTEM:
                    texts = [text_of(arg) for arg in node.args]
                    found.update(text for text in texts if text.strip("…: "))
    return found


def listed(heading: str) -> set[str]:
    """The texts that a part of the page explains."""
    part = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.M | re.S)
    assert part
    return set(re.findall(r"^`([^`]+)`\n: ", part[1], re.M))


def test_every_exception_has_a_part_of_the_page():
    headings = set(re.findall(r"^### `(\w+)`$", PAGE.read_text("utf-8"), re.M))
    assert headings == classes(), TELL


def test_every_message_of_an_exception_is_explained():
    assert listed("Exceptions") == messages(), TELL


def test_every_log_line_is_explained():
    assert listed("Warnings and log lines") == log_lines(), TELL


def test_nothing_warns_in_a_way_that_this_test_does_not_see():
    names = {
        ast.unparse(n.func) for t, _ in trees() for n in ast.walk(t) if isinstance(n, ast.Call)
    }
    assert not {name for name in names if "getLogger" in name} - {"logging.getLogger"}
    assert "warn" not in names


def test_anchors_that_are_printed_are_those_of_the_page():
    printed = set()
    for tree, _ in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                printed.update(re.findall(r"docs/errors\.md#([\w-]+)", node.value))
    assert printed
    assert printed <= set(re.findall(r"^\(([\w-]+)\)=$", PAGE.read_text("utf-8"), re.M))
