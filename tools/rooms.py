"""Prints the plan of the house: for each room its floor, its lines, and the rooms that it imports.

    python tools/rooms.py

Rooms know only what stands below them. Exit code 1: an import goes up, or rooms or modules import each other in a
circle; each is a line.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "zsl_jax"
FLOORS = (
    ("config", "files", "errors"),
    ("nets", "losses", "diffusion", "data", "interop"),
    ("train_steps",),
    ("training", "evaluation"),
    ("experiment",),
    ("report", "benchmarking"),
    ("__init__", "__main__", "main", "commands", "estimator"),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> dict[str, Path]:
    """All modules of the package by dotted name; a package has the name of its folder."""
    named = ((".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts), path) for path in PACKAGE.rglob("*.py"))
    return {name.removesuffix(".__init__"): path for name, path in named}


def imported(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """Modules of the package that a file imports when it is imported itself; imports inside functions wait."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {node for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) for node in ast.walk(one)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(PACKAGE.name):
            continue
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            name = full if full in known else str(node.module)
            if node not in inside or FLOOR[room(name)] < len(FLOORS) - 1:
                yield name


def room(module: str) -> str:
    """The room of a module."""
    return [*module.split("."), "__init__"][1]


def graph() -> dict[str, set[str]]:
    """What each module imports."""
    known = modules()
    return {name: set(imported(path, known)) - {name} for name, path in known.items()}


def upward(edges: Mapping[str, set[str]]) -> list[str]:
    """Imports from a higher floor."""
    pairs = ((one, other) for one, others in edges.items() for other in others)
    return sorted(f"{one} -> {other}" for one, other in pairs if FLOOR[room(one)] < FLOOR[room(other)])


def circles(edges: Mapping[str, set[str]]) -> list[str]:
    """Groups of modules, or of rooms, that import each other in a circle."""
    rooms: dict[str, set[str]] = {}
    for one, others in edges.items():
        rooms.setdefault(room(one), set()).update(room(other) for other in others if room(other) != room(one))
    return [" <-> ".join(found) for each in (edges, rooms) for found in loops(each)]


def loops(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Nodes that can be reached from each other, group by group."""
    reached = {node: reach(edges, node) for node in edges}
    groups = {tuple(sorted(o for o in reached[n] if n in reached.get(o, ()))) for n in edges if n in reached[n]}
    return [list(group) for group in sorted(groups)]


def reach(edges: Mapping[str, set[str]], start: str) -> set[str]:
    """Nodes at the ends of paths from a node."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = edges.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def plan(edges: Mapping[str, set[str]]) -> Iterator[str]:
    """A line for each room, from the top floor down."""
    files = modules()
    for floor in reversed(range(len(FLOORS))):
        for name in FLOORS[floor]:
            own = [module for module in edges if room(module) == name]
            lines = sum(len(files[module].read_text(encoding="utf-8").splitlines()) for module in own)
            below = sorted({room(other) for module in own for other in edges[module]} - {name})
            yield f"{floor}  {name:<13}{lines:>6}  {' '.join(below)}"


def main() -> int:
    """Prints the plan and what is wrong in it."""
    edges = graph()
    print("floor, room, lines, imports", *plan(edges), sep="\n")
    wrong = [f"up: {one}" for one in upward(edges)] + [f"circle: {one}" for one in circles(edges)]
    print(*wrong or ["no import goes up, no circle"], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
