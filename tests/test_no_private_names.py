"""No underscored name of another package: those change without notice.

Read from the syntax trees: imports, attributes of what was imported, of values made or annotated with it, and of classes
derived from it. Exceptions: none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shared import ROOT

PROGRAMS = ("simulator", "sweeper", "scripts")
OWN = (*PROGRAMS, "tests")
NAMED_TUPLE = {"_replace", "_asdict", "_fields", "_make", "_field_defaults"}  # documented: underscored to keep off field names


def files() -> list[Path]:
    """Those named fast_* are being replaced by one kernel in public numba; until then they are not read."""
    return [path for program in PROGRAMS for path in sorted((ROOT / program).rglob("*.py")) if not path.name.startswith("fast_")]


def private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__")) and name not in NAMED_TUPLE


def found(source: str) -> list[str]:
    """'line 3: argparse._SubParsersAction' for each private name of somebody else's."""
    tree = ast.parse(source)
    foreign = {name for node in ast.walk(tree) for name in _bound(node)}
    foreign |= {name for node in ast.walk(tree) for name in _made_of(node, foreign)}
    lines = [*_imported(tree), *_attributes(tree, foreign), *(line for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
                                                             for line in _inherited(node, foreign))]
    return [f"line {line}: {what}" for line, what in sorted(set(lines))]


def _modules(node: ast.AST) -> list[tuple[str, str]]:
    """(module, name bound here) of an import of another package."""
    if isinstance(node, ast.Import):
        pairs = [(alias.name, alias.asname or alias.name.split(".")[0]) for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        pairs = [(f"{node.module}.{alias.name}", alias.asname or alias.name) for alias in node.names]
    else:
        return []
    return [(module, name) for module, name in pairs if module.split(".")[0] not in (*OWN, "__future__")]


def _bound(node: ast.AST) -> Iterator[str]:
    yield from (name for _, name in _modules(node))


def _root(node: ast.AST) -> str:
    """The name that `a.b().c[0]` starts with; '' where it does not start with one."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _made_of(node: ast.AST, foreign: set[str]) -> Iterator[str]:
    """Variables that are called into being from, or annotated with, a foreign class."""
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _root(node.value) in foreign:
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.arg) and node.annotation is not None and _root(node.annotation) in foreign:
        yield node.arg
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _root(node.annotation) in foreign:
        yield node.target.id


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        for module, _ in _modules(node):
            if any(map(private, module.split("."))):
                yield node.lineno, module  # type: ignore[attr-defined]


def _attributes(tree: ast.Module, foreign: set[str]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr) and _root(node.value) in foreign - {"self"}:
            yield node.lineno, ast.unparse(node)


def _inherited(of: ast.ClassDef, foreign: set[str]) -> Iterator[tuple[int, str]]:
    """What a class derived from a foreign one takes from it: `super()._x`, and `self._x` that it does not define."""
    if not any(_root(base) in foreign for base in of.bases):
        return
    reached = [node for node in ast.walk(of) if isinstance(node, ast.Attribute) and private(node.attr)]
    own = {node.name for node in ast.walk(of) if isinstance(node, ast.FunctionDef)}
    own |= {node.attr for node in reached if isinstance(node.ctx, ast.Store)}
    own |= {node.id for node in ast.walk(of) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in reached:
        root = _root(node.value)
        if root == "super" or (root == "self" and isinstance(node.value, ast.Name) and node.attr not in own):
            yield node.lineno, ast.unparse(node)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_name_of_another_package(path: Path) -> None:
    assert not found(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("source", [
    "from ray._private import services", "import ray._raylet", "from numpy import _core", "import os\nos._exit(1)",
    "import argparse\ndef f(a: argparse.ArgumentParser):\n    return a._actions", "import optuna\nstudy = optuna.create_study()\nstudy._storage",
    "from optuna.samplers import TPESampler\nTPESampler()._rng", "def f():\n    from a import b\n    return b.c()._d",
    "from a import B\nclass C(B):\n    def f(self):\n        return super()._g()", "from a import B\nclass C(B):\n    def f(self):\n        return self._x",
])
def test_each_way_to_take_one_is_seen(source: str) -> None:
    assert found(source)


@pytest.mark.parametrize("source", [
    "from sweeper.run.loop import _tasks", "from a import B\nclass C(B):\n    def __init__(self):\n        self._x = 1\n        super().__init__()",
    "from typing import NamedTuple\nclass P(NamedTuple):\n    x: int\n    def f(self):\n        return self._replace(x=1)",
    "class A:\n    def f(self):\n        return self._x", "import a\n_own = a.b()\n_own.c",
])
def test_ours_may_be_private(source: str) -> None:
    assert not found(source)
