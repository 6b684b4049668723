"""The code stands as docs/architecture.md says: floors, rooms, imports, sizes, and the drawing."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

import compactor
from compactor.runtime import hot_path

ROOT = Path(__file__).parents[1]
PACKAGE = Path(compactor.__file__).parent
DRAWER = runpy.run_path(str(ROOT / "docs" / "draw_architecture.py"))
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
FLOORS, FILES = DRAWER["tables"](PAGE)

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

TWINS = set(hot_path.MODULES.values())


def dotted(module: str) -> str:
    parts = ["compactor", *module.removesuffix(".py").split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULE_OF = {dotted(module): module for module in MODULES}


def imported(module: str) -> Iterator[str]:
    """The modules of the package that a module imports at run time, wherever it does so."""
    yield from _imported(module, ast.parse((PACKAGE / module).read_text("utf-8")))


def _imported(module: str, tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from (MODULE_OF[a.name] for a in node.names if a.name in MODULE_OF)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            if node.level:  # a twin imports its siblings of the same kind
                rooms = dotted(module).split(".")[1 : -node.level]
                name = ".".join([*rooms, node.module])
                assert name in TWINS, f"relative import: {ast.unparse(node)}"
                yield MODULE_OF[f"compactor.{name}"]
                continue
            for alias in node.names:
                # "from compactor import errors" imports a module, not a name of the package
                inner = f"{node.module}.{alias.name}"
                if inner in MODULE_OF:
                    yield MODULE_OF[inner]
                elif node.module in MODULE_OF:
                    yield MODULE_OF[node.module]
        yield from _imported(module, node)


def room_of(module: str) -> str:
    """The file itself, at the root."""
    first, slash, _ = module.partition("/")
    return first + slash


@pytest.mark.smoke
def test_every_module_is_on_the_page_and_every_room_on_a_floor():
    """But for the ``__init__.py`` of rooms without any code."""
    silent = {m for m in MODULES if m.endswith("/__init__.py") and not code(m)}
    assert sorted(FILES) == sorted(set(MODULES) - silent)
    assert set(FLOORS) == {room_of(module) for module in MODULES}


def code(module: str) -> list[ast.stmt]:
    """What a module has besides its docstring."""
    tree = ast.parse((PACKAGE / module).read_text("utf-8"))
    return tree.body[1:]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.smoke
def test_imports_point_to_lower_floors_or_into_the_same_room(module):
    room = room_of(module)
    for other in imported(module):
        there = room_of(other)
        assert there == room or FLOORS[there] < FLOORS[room], f"{module} imports {other}"


@pytest.mark.smoke
def test_no_modules_of_a_room_import_in_a_circle():
    sorter = TopologicalSorter(
        {m: {o for o in imported(m) if room_of(o) == room_of(m)} - {m} for m in MODULES}
    )
    sorter.prepare()  # raises CycleError, which names them


IMPORT_EACH = """
import asyncio, importlib, os, ssl, sys
import compactor  # which comes first, whatever is imported
modules, sys.argv[1:] = sys.argv[1:], []
for module in modules:
    child = os.fork()
    if not child:
        importlib.import_module(module)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{module} fails")
"""


def test_each_module_imports_alone_without_a_warning(tmp_path):
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each import compiles everything
    command = [sys.executable, "-W", "error", "-c", "import compactor, sys; print(*sys.modules)"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    # Whatever is imported, the package comes first, and these with it: they need no other test.
    with_the_package = set(done.stdout.split())
    modules = [name for name in map(dotted, MODULES) if name not in with_the_package]
    if hasattr(os, "fork"):  # each in a child of one program, which has imported none of them
        programs = [[IMPORT_EACH, *modules]]
    else:
        programs = [[f"import {module}"] for module in modules]
    for program in programs:
        command = [sys.executable, "-W", "error", "-c", *program]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=110)
        assert done.returncode == 0, done.stderr


SOURCES = {
    path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8").splitlines()
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyx")])
}
FUNCTION = re.compile(r"( *)(?:async )?(?:def|cdef|cpdef) (?!class ).*?(\w+)\(")
IN_ONE_PIECE = "# In one piece: "


def functions(lines: list[str]) -> Iterator[tuple[int, str, int]]:
    """Where each function begins, its name and its lines, in Python and in Cython."""
    for at, line in enumerate(lines):
        if found := FUNCTION.match(line):
            inside = (found[1] + " ", found[1] + ")")
            ends = (
                n for n in range(at + 1, len(lines)) if lines[n] and not lines[n].startswith(inside)
            )
            text = lines[at : next(ends, len(lines))]
            yield at, found[2], len("\n".join(text).rstrip().splitlines())


@pytest.mark.smoke
def test_no_file_is_long_and_most_are_short():
    sizes = {source: len(lines) for source, lines in SOURCES.items()}
    assert {source: size for source, size in sizes.items() if size > 400} == {}
    assert median(sizes.values()) <= 150


@pytest.mark.smoke
@pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="these tests stand outside the tree")
def test_setup_is_read_at_a_glance():
    assert len((ROOT / "setup.py").read_text("utf-8").splitlines()) <= 80


@pytest.mark.smoke
def test_no_function_is_long_unless_a_comment_above_it_says_why():
    lengths, explained = {}, set()
    for source, lines in SOURCES.items():
        for at, name, length in functions(lines):
            where = f"{source}:{at + 1} {name}"
            if length > 40:
                lengths[where] = length
            if lines[at - 1].strip().startswith(IN_ONE_PIECE):
                explained.add(where)
    for where in explained:
        assert lengths.pop(where, 0), f"{where} is short enough now to do without a reason"
    assert lengths == {}, f"carve them, or say above each why not: {IN_ONE_PIECE}..."


def test_drawing_is_that_of_the_page():
    drawing = (ROOT / "docs" / "architecture.svg").read_text("utf-8")
    assert drawing == DRAWER["draw"](PAGE), "run: python docs/draw_architecture.py"


def test_drawing_cuts_no_text_short():
    assert "…" not in DRAWER["draw"](PAGE)


def test_modules_on_the_two_ways_exist():
    for modules in DRAWER["ways"](PAGE).values():
        assert modules
        assert modules <= set(MODULES)


def test_import_leaves_protobuf_uvloop_and_the_loop_policy_alone():
    program = (
        "import sys, compactor\n"
        "print([m for m in sys.modules if m.startswith(('google.protobuf', 'uvloop'))])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_import_is_quick(tmp_path):
    """In less than a tenth of a second, or on a slow machine 2.5 times what asyncio takes."""
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def seconds(program: str) -> float:
        """CPU time from the start of Python: other programs on this machine add little to it."""
        program += "\nimport time; print(time.process_time())"
        return float(subprocess.check_output([sys.executable, "-c", program], env=environ))

    seconds("import compactor")  # writes the bytecode
    tries = []
    for _ in range(15):  # what others do to the caches counts for both of a try
        start = seconds("")
        took, floor = seconds("import compactor") - start, seconds("import asyncio") - start
        if took < max(0.1, 2.5 * floor):
            return
        tries.append((took, floor))
    pytest.fail(f"it took, beside asyncio: {tries}")


def test_pages_name_no_module_that_does_not_exist():
    assert set(re.findall(r"`([\w/]+\.py)`", PAGE)) <= set(MODULES)


def test_malloc_stays_as_the_program_has_it() -> None:
    sources = [path for kind in ("py", "pyx", "pxd") for path in PACKAGE.rglob(f"*.{kind}")]
    assert sources
    assert not [path.name for path in sources if "mallopt" in path.read_text("utf-8")]
