"""The code stands as docs/architecture.md says: floors, rooms, imports, and the drawing."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import compactor
from compactor import wire

ROOT = Path(__file__).parents[1]
PACKAGE = Path(compactor.__file__).parent
DRAWER = runpy.run_path(str(ROOT / "docs" / "draw_architecture.py"))
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
FLOORS, ROOMS = DRAWER["tables"](PAGE)

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
FLOOR_OF = {room.module: room.floor for room in ROOMS}

TWINS = set(wire.MODULES.values())


def dotted(module: str) -> str:
    parts = ["compactor", *module.removesuffix(".py").split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULE_OF = {dotted(module): module for module in MODULES}


def imported(module: str) -> Iterator[str]:
    """The modules of the package that a module imports at run time, wherever it does so."""
    yield from _imported(ast.parse((PACKAGE / module).read_text("utf-8")))


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from (MODULE_OF[a.name] for a in node.names if a.name in MODULE_OF)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            if node.level:  # a twin imports its siblings of the same kind
                assert node.level == 1
                assert node.module in TWINS, f"relative import: {ast.unparse(node)}"
                yield MODULE_OF[f"compactor.{node.module}"]
                continue
            for alias in node.names:
                # "from compactor import errors" imports a module, not a name of the package
                inner = f"{node.module}.{alias.name}"
                if inner in MODULE_OF:
                    yield MODULE_OF[inner]
                elif node.module in MODULE_OF:
                    yield MODULE_OF[node.module]
        yield from _imported(node)


def test_every_module_stands_on_one_floor_of_the_page():
    assert sorted(room.module for room in ROOMS) == MODULES
    assert set(FLOOR_OF.values()) == set(FLOORS) == set(range(len(FLOORS)))


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_to_lower_floors(module):
    package = Path(module).parent
    for other in imported(module):
        same_room = package != Path() and Path(other).parent == package
        assert same_room or FLOOR_OF[other] < FLOOR_OF[module], f"{module} imports {other}"


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_alone_without_a_warning(module):
    program = f"import {dotted(module)}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


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
    took, floor = [], []
    for _ in range(15):
        start = seconds("")
        took.append(seconds("import compactor") - start)
        floor.append(seconds("import asyncio") - start)
        if min(took) < max(0.1, 2.5 * min(floor)):
            break
    assert min(took) < max(0.1, 2.5 * min(floor))


def test_pages_name_no_module_that_does_not_exist():
    names = set(re.findall(r"`(\w+\.py)`", PAGE.split("## Differences")[0]))
    assert names <= {Path(module).name for module in MODULES}
