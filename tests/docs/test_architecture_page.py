"""docs/architecture.md: what is written there by hand is as the code has it, and the generated part reads docstrings right."""

from __future__ import annotations

import ast
import re

import pytest

from scripts.make_architecture import first_sentence, rooms
from tests.shared import ROOT
from tests.test_architecture import STAIR, modules

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
WALK = re.findall(r"^\| (\d+) \| (.+?) \| `(.+?)` \|", PAGE, re.MULTILINE)


def test_the_stair_is_the_one_that_imports_are_tested_for() -> None:
    drawn = PAGE.partition("<!-- test: the stair -->\n```text\n")[2].partition("```")[0]
    for program, text in re.findall(r"^(\w+)/(.*?)(?=^\w|\Z)", drawn, re.MULTILINE | re.DOTALL):
        steps = [re.split(r"\s{2,}", line.strip())[0] for line in text.splitlines() if line.strip()]
        assert [set(step.split(", ")) for step in steps] == [set(step.split(", ")) for step in reversed(STAIR[program])]


def test_the_walk_is_numbered() -> None:
    assert len(WALK) > 20 and [int(number) for number, _, _ in WALK] == list(range(1, len(WALK) + 1))


@pytest.mark.parametrize(("number", "functions", "file"), WALK)
def test_functions_of_the_walk_stand_in_their_files(number: str, functions: str, file: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    for name in re.findall(r"`(.+?)`", functions):
        body: list[ast.stmt] = tree.body
        for part in name.split("."):
            found = [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == part]
            assert found, f"step {number}: {file} has no {name}"
            body = found[0].body


def test_every_module_has_its_line() -> None:
    lines = [line for line in rooms().splitlines() if line.startswith("| [")]
    packages = sum(1 for path in (*(ROOT / "simulator").iterdir(), *(ROOT / "sweeper").iterdir()) if (path / "__init__.py").exists())
    assert len(lines) == len(modules()) - len(STAIR) - packages  # programs and rooms have headings


@pytest.mark.parametrize(("text", "sentence"), [
    ("One. Two.", "One"),
    ("A line that goes\non. `b` is next.\n\nMore", "A line that goes on"),
    ("Plain data, e.g. Numbers, vs. Text.", "Plain data, e.g. Numbers, vs. Text"),
    ("Student's t (5th ed., 4.5)", "Student's t (5th ed., 4.5)"),
    ("What do we build?", "What do we build?"),
])
def test_first_sentence(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence
