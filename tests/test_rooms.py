"""The house rule: a module imports only from its own room and from rooms below it."""

import ast
from pathlib import Path

import pytest

import empathy_lens

PACKAGE = Path(empathy_lens.__file__).parent

# Top to bottom. Rooms on one line may not see each other.
ORDER = (
    ("__main__",),
    ("cli",),
    ("study",),
    ("views", "doctor"),
    ("games",),
    ("steering",),
    ("pairs",),
    ("evidence",),
    ("vendors",),
    ("activations",),
    ("engine",),
    ("models",),
    ("directions",),
    ("stats",),
    ("data",),
    ("console",),
    ("results",),
    ("types",),
    ("files",),
    ("errors",),
)
FLOOR = {room: floor for floor, rooms in enumerate(ORDER) for room in rooms}


def imported(source: str, module: tuple[str, ...]) -> set[str]:
    """Rooms that a module (its path parts, the package included) imports, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.ImportFrom):
            parent = list(module[: len(module) - node.level]) if node.level else []
            base = [*parent, *(node.module or "").split(".")] if node.module else parent
            names = [[*base, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        rooms |= {n[1] for n in names if n[0] == "empathy_lens" and len(n) > 1}
    return rooms


def upward(source: str, module: tuple[str, ...]) -> list[str]:
    own = module[1]
    return [
        f"{own} imports {room}"
        for room in sorted(imported(source, module))
        if room != own and room in FLOOR and FLOOR[room] <= FLOOR[own]
    ]


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("empathy_lens", *path.relative_to(PACKAGE).with_suffix("").parts)
        if len(parts) > 2 or parts[1] != "__init__":
            yield pytest.param(path, parts, id="/".join(parts[1:]))


@pytest.mark.parametrize(("path", "parts"), modules())
def test_a_module_imports_only_from_rooms_below(path, parts):
    assert parts[1] in FLOOR, f"{parts[1]} has no floor: add it to ORDER"
    assert upward(path.read_text(encoding="utf-8"), parts) == []


@pytest.mark.parametrize(
    "line",
    ["from ..study import run_study", "import empathy_lens.views.report", "from .. import cli"],
)
def test_a_planted_upward_import_is_seen(line):
    assert upward(f"def f():\n    {line}\n", ("empathy_lens", "stats", "groups"))
