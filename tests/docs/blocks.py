"""Commands in Markdown: fenced `sh` blocks, with markers in a comment on the line before.

    <!-- test: skip, REASON -->      not run (a server, a download, minutes of measurement); its commands are still parsed
    <!-- test: with --trials 20 -->  these words are added to every `sweeper run` and `resume` of the block
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

MARKER = re.compile(r"<!-- test: (skip, .{10,}|with .+) -->")
PROGRAM = re.compile(r"(?:python3?|\.venv/bin/\w+|/\S+/python) |pip |ray |sweeper |simulator |docker |kubectl |\./scripts/|scripts/\S+ ")


@dataclass(frozen=True)
class Block:
    """The commands of one fence, in order, without comments; continued lines joined."""

    page: Path
    line: int
    commands: tuple[str, ...]
    skip: str = ""
    extra: tuple[str, ...] = ()


def blocks(page: Path) -> list[Block]:
    """The `sh` blocks of a page. Raises AssertionError for a marker that is not one."""
    found, lines = [], page.read_text(encoding="utf-8").splitlines()
    i = 0
    while i < len(lines):
        if lines[i].startswith("```"):
            end = next(j for j in range(i + 1, len(lines)) if lines[j].startswith("```"))
            if lines[i][3:].strip() == "sh":
                marker = lines[i - 1] if i and lines[i - 1].startswith("<!--") else ""
                match = MARKER.fullmatch(marker)
                assert match or "test:" not in marker, f"{page.name}:{i}: {marker} is no marker (tests/docs/blocks.py)"
                said = match.group(1) if match else ""
                found.append(Block(page, i + 1, _commands(lines[i + 1: end]), said[6:] if said.startswith("skip") else "",
                                   tuple(shlex.split(said[5:])) if said.startswith("with") else ()))
            i = end
        i += 1
    return found


def strays(page: Path) -> list[str]:
    """Lines that look like commands but stand in an indented block or in a fence of another kind."""
    found, fence = [], ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            fence = "" if fence else line[3:].strip() or "text"
            continue
        elsewhere = line.startswith("    ") if not fence else fence not in ("sh", "text", "yaml", "python", "json", "toml")
        if elsewhere and PROGRAM.match(line.strip().removeprefix("$ ")):
            found.append(f"{page.name}:{number}: {line.strip()}")
    return found


def inline(page: Path) -> list[str]:
    """`python -m sweeper ...` and `python -m simulator ...` in running text."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(command.split()) for command in re.findall(r"`(python -m (?:sweeper|simulator) [^`]+)`", text)]


def _commands(lines: list[str]) -> tuple[str, ...]:
    commands: list[str] = []
    held, until = "", ""
    for line in lines:
        if until:  # inside a here-document
            held += line + "\n"
            if line.strip() == until:
                commands.append(held)
                held = until = ""
            continue
        if not held and (not line.strip() or line.lstrip().startswith("#")):
            continue
        document = re.search(r"<<-? ?'?(\w+)'?", line)
        if document:
            until, held = document.group(1), line + "\n"
        elif line.endswith("\\"):
            held += line[:-1] + " "
        else:
            commands.append(re.sub(r"\s+# .*$", "", held + line).strip())
            held = ""
    return tuple(commands)
