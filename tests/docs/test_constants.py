"""Numbers that the docs take from the code agree with it.

A number in Markdown is followed by the name of its constant in a comment, which readers do not see:

    at most 5 %<!-- = REPORT_SHARE --> of its time     131,072<!-- = pieces.PIECE --> at a time

The name is looked up in `simulator` and `sweeper`; where several modules have it, the module's own name goes before it.
"""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

from tests.shared import ROOT

MARK = re.compile(r"<!-- = ([\w.]+) -->")
MARKED = re.compile(r"(?<![\d.,])(\d[\d,]*(?:\.\d+)?) ?(%|[a-zA-Z]+)?<!-- = ([\w.]+) -->")
SCALES = {"": 1.0, "%": 0.01, "us": 1e-6, "ms": 1e-3, "s": 1.0, "GB": 1e9, "MB": 1e6}
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@cache
def constants() -> dict[str, list[str]]:
    """Name -> the modules that assign it at their top level."""
    found: dict[str, list[str]] = {}
    for program in ("simulator", "sweeper"):
        for path in sorted((ROOT / program).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
                names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
                for name in names:
                    found.setdefault(name, []).append(module)
    return found


def value_of(mark: str) -> float:
    place, _, name = mark.rpartition(".")
    modules = [module for module in constants().get(name, []) if f".{module}".endswith(f".{place}" if place else "")]
    assert len(modules) == 1, f"{mark} is a constant of {modules or 'no module'}"
    return float(getattr(importlib.import_module(modules[0]), name))


def agrees(written: str, unit: str, value: float) -> bool:
    """Whether a number is the value, rounded to the digits that are written."""
    digits = len(written.partition(".")[2])
    scale = SCALES[unit]
    return abs(float(written.replace(",", "")) * scale - value) <= 0.5001 * 10.0**-digits * scale * (digits > 0) + 1e-12 * abs(value)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_marked_numbers_are_those_of_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = MARKED.findall(text)
    assert len(found) == len(MARK.findall(text)), "a mark stands right behind a number, or its unit"
    wrong = [f"{page.name} says {number} {unit}, {mark} is {value_of(mark)}" for number, unit, mark in found
             if not agrees(number, unit, value_of(mark))]
    assert not wrong


def test_marks_exist_and_a_wrong_number_is_found() -> None:
    assert sum(len(MARK.findall(page.read_text(encoding="utf-8"))) for page in PAGES) >= 15
    assert agrees("5", "%", 0.05) and agrees("131,072", "", 131072) and agrees("0.05", "%", 0.0488e-2)
    assert not agrees("10", "%", 0.05) and not agrees("0.5", "us", 0.9e-6)
