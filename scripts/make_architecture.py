"""The generated part of docs/architecture.md: every room and every file with the first sentence of its docstring.

Written by `python scripts/make_docs.py`, which calls `rooms`. Raises AssertionError for a module without a docstring.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("simulator", "sweeper")
# The end of a sentence: a full stop before a blank and a capital letter, but not after an abbreviation.
END = re.compile(r"(?<!e\.g)(?<!i\.e)(?<!vs)\.\s+(?=[A-Z`])")


def rooms() -> str:
    """A heading for every program, a table for every room, a line for every file."""
    return "\n".join(_program(ROOT / name) for name in PROGRAMS)


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line and without its full stop."""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    return END.split(paragraph, maxsplit=1)[0].removesuffix(".")


def _program(folder: Path) -> str:
    files = [path for path in _modules(folder) if path.parent == folder]
    parts = [f"### `{folder.name}/`\n\n{_summary(folder / '__init__.py')}.\n\n{_table(files, folder)}"]
    for room in sorted(path for path in folder.iterdir() if (path / "__init__.py").exists()):
        parts.append(_room(room))
    return "\n".join(parts)


def _room(room: Path) -> str:
    name = room.relative_to(ROOT).as_posix()
    stands_on = ", ".join(f"`{other}`" for other in _imported_rooms(room)) or "nothing"
    return f"### `{name}/`\n\n{_summary(room / '__init__.py')}. It imports {stands_on}.\n\n{_table(_modules(room), room)}"


def _table(files: list[Path], folder: Path) -> str:
    rows = [f"| [`{_name(path, folder)}`](../{_target(path)}) | {_summary(path).replace('|', chr(92) + '|')} |" for path in files]
    return "\n".join(["| file | what it is for |", "| --- | --- |", *rows]) + "\n"


def _modules(folder: Path) -> list[Path]:
    """The folder's modules; those of a folder within it follow its own line, which its `__init__` gives."""
    found = [path for path in folder.rglob("*.py") if path != folder / "__init__.py"]
    return sorted(found, key=lambda path: (len(path.relative_to(folder).parts) > 1 or path.name == "__init__.py",
                                           path.parent, path.name != "__init__.py", path.name))


def _name(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).as_posix()
    return name.removesuffix("__init__.py") if path.name == "__init__.py" else name


def _target(path: Path) -> str:
    return (path.parent if path.name == "__init__.py" else path).relative_to(ROOT).as_posix()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _summary(path: Path) -> str:
    text = ast.get_docstring(_tree(path))
    assert text, f"{path.relative_to(ROOT)} has no docstring: its first sentence is its line in docs/architecture.md"
    return first_sentence(text)


def _imported_rooms(room: Path) -> list[str]:
    """The rooms, or the files of a program's root, that the files of a room import, in alphabetical order."""
    own = room.relative_to(ROOT).parts[:2]
    found = {parts[:2] for path in room.rglob("*.py") for parts in _imports(_tree(path)) if parts[:2] != own}
    same = sorted(name for program, name in found if program == own[0])
    return same + sorted(f"{program}.{name}" for program, name in found if program != own[0])


def _imports(tree: ast.Module) -> Iterator[tuple[str, ...]]:
    """The modules of ours that are imported, as the parts of their dotted names: at least program and room."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in PROGRAMS:
            yield from ((*node.module.split("."), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names
                        if alias.name.partition(".")[0] in PROGRAMS and "." in alias.name)
