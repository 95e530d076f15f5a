"""Imports run down the stair: no room knows a higher one, and no two modules need each other.

Every import counts: at the top of a module, inside a function, and under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter

from tests.shared import ROOT

# From bottom to top. A line holds the parts of one room: they may import each other. Names are below their program.
STAIR = {
    "simulator": [
        "inputs",
        "design",  # with the reader of Hugging Face configs: loading a design calls it
        "model",
        "devices, silicon",  # one room: power is energy over time, and a power cap sets the clock of a device
        "workload",
        "scheduler",
        "pricing",  # above the scheduler: a priced design holds the scheduler's limits, no scheduler knows a price
        "engine",
        "results, result",  # a result adds up its breakdown; exports, timeline and metric plug-ins read results
        "design_key, version",  # identities of what a result depends on, for records that outlive it
        "prepare, simulate, streamed",
        "analysis",
        "importers",
        "profiling",
        "recorded",  # a run is replayed with tables that importers read
        "command_line",  # below the commands: it names them as text, and completion in sweeper reads it
        "commands",
        "__main__",
    ],
    "sweeper": [
        "space",
        "study",
        "search",
        "sinks",
        "workers",
        "explain",
        "export",
        "report",
        "run",  # above the report: a sweep ends by writing one
        "api, samplers",
        "commands, command_line",
        "__main__",
    ],
}
# The highest room of the simulator that the sweeper may know: it asks for answers and never prints the simulator's own.
OPEN_TO_SWEEPER = "command_line"
EXCEPTIONS: set[tuple[str, str]] = set()  # (module, module it imports); stays empty


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of both programs by dotted name; a package stands for its __init__."""
    found = {}
    for program in STAIR:
        for path in sorted((ROOT / program).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


@cache
def imports() -> dict[str, set[str]]:
    """Module -> the modules of ours that it imports."""
    return {name: set(_imported(tree)) for name, tree in modules().items()}


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            module = str(node.module)
            for alias in node.names:
                full = f"{module}.{alias.name}"
                if full in modules() or module in modules():
                    yield full if full in modules() else module


def place(module: str) -> tuple[int, int]:
    """The step on which a module stands: its program's, then its room's."""
    program, _, below = module.partition(".")
    room = below.partition(".")[0]
    for step, rooms in enumerate(STAIR[program]):
        if room in rooms.split(", "):
            return list(STAIR).index(program), step
    raise AssertionError(f"{module} is in no room of STAIR")


def arrows() -> Iterator[tuple[str, str]]:
    for module, targets in imports().items():
        yield from ((module, target) for target in sorted(targets) if (module, target) not in EXCEPTIONS)


def test_every_module_has_a_room() -> None:
    for module in modules():
        if module not in STAIR:
            place(module)


def test_no_import_runs_up_the_stair() -> None:
    upward = [f"{module} -> {target}" for module, target in arrows()
              if module not in STAIR and target not in STAIR and place(target) > place(module)]
    assert not upward


def test_the_sweeper_knows_no_command_of_the_simulator() -> None:
    highest = place(f"simulator.{OPEN_TO_SWEEPER}")
    too_high = [f"{module} -> {target}" for module, target in arrows()
                if module.startswith("sweeper") and target.startswith("simulator.") and place(target) > highest]
    assert not too_high


def test_no_two_modules_need_each_other() -> None:
    try:
        TopologicalSorter(imports()).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_packages_hold_no_code() -> None:
    """What a package's __init__ imports would be imported by whoever imports anything below it."""
    packages = [name for name in modules() if any(other.startswith(f"{name}.") for other in modules())]
    assert not [name for name in packages if imports()[name]]
    assert not [name for name in packages if not ast.get_docstring(modules()[name])]
