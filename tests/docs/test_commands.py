"""Every command in the README and in docs/ runs.

The commands of a page run in order in a folder of its own that sees configs/, search_spaces/, examples/ and scripts/.
`python -m sweeper` and `python -m simulator` run in this process, sweeps on one Ray cluster for all pages (`ray_cluster`);
a study that an earlier page made with the same words is copied.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.__main__ import main as simulator
from simulator.command_line import build_parser as simulator_parser
from simulator.design.load import CONFIGS
from sweeper.__main__ import main as sweeper
from sweeper.command_line import build_parser as sweeper_parser
from tests.docs.blocks import Block, blocks, inline, strays
from tests.shared import shared_file

ROOT = CONFIGS.parent
SHARED = Path(os.environ.get("LLMSIM_SHARED", ROOT.parent / "shared"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").rglob("README.md"))]
MAIN = {"sweeper": sweeper, "simulator": simulator}
PARSER = {"sweeper": sweeper_parser, "simulator": simulator_parser}
_DONE: set[str] = set()  # commands that leave nothing behind, and ran on an earlier page
FEW = ("--trials", "12", "--workers", "1")  # of a sweep whose block says nothing else

_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies that were made, by the words of their command."""
    return tmp_path_factory.mktemp("studies")


@_name
def test_commands_run(page: Path, tmp_path: Path, ray_cluster: None, studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("configs", "search_spaces", "examples", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    for block in blocks(page):
        for command in block.commands:
            if not block.skip:
                run(command, block, studies)


def run(command: str, block: Block, studies: Path) -> None:
    """Runs one command; fails with its place and its words where the exit code is not 0."""
    if command in _DONE:
        return
    if "runs/" not in command and ">" not in command and " -o" not in command and "-csv" not in command \
            and not re.search(r"sweeper (run|resume)", command):
        _DONE.add(command)
    where = f"{block.page.name}:{block.line}: {command}"
    module = _module(command)
    if "../shared" in command:
        shared_file("data")
    if module is None or "sweeper doctor" in command:  # doctor starts a Ray of its own
        bin_folder = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", command.replace("../shared", str(SHARED))], text=True,
                              capture_output=True, env={**os.environ, "PATH": bin_folder, "PYTHONPATH": str(ROOT)}, timeout=120)
        assert done.returncode == 0, f"{where}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
        return
    words, target = _words(command)
    kept = None
    if module == "sweeper" and words[0] in ("run", "resume"):
        words = [*words, *(block.extra or FEW)]
        if words[0] == "run":
            args = sweeper_parser().parse_args(words)
            folder = Path(args.out or f"runs/{Path(args.space).stem}")
            assert not folder.exists(), f"{where}: the page made {folder} before"
            kept = studies / re.sub(r"\W+", "_", " ".join([*words, Path(args.space).resolve().as_posix()]))[-200:]
            if kept.exists():
                shutil.copytree(kept, folder)
                return
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = MAIN[module](words)
    assert code == 0, f"{where}\n{out.getvalue()[-1000:]}\n{errors.getvalue()[-2000:]}"
    assert out.getvalue() or "--output" in words or "-o" in words, f"{where}: printed nothing"
    if target:
        Path(target).write_text(out.getvalue())
    if kept is not None:
        shutil.copytree(folder, kept)


@_name
def test_skipped_and_inline_commands_are_spelt_right(page: Path) -> None:
    """What is not run is at least taken by the command line's parser; scripts are there."""
    skipped = [c for block in blocks(page) if block.skip for c in block.commands]
    for command in (*skipped, *inline(page)):
        module = _module(command)
        if module is not None and "..." not in command:
            _parse(module, _words(command)[0], command)
        for script in re.findall(r"\bscripts/[\w/]+\.(?:py|sh)", command):
            assert (ROOT / script).exists(), f"{page.name}: {command}"


@_name
def test_commands_stand_in_sh_blocks(page: Path) -> None:
    assert not strays(page), "write these in a ```sh block (tests/docs/blocks.py)"


@_name
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def _module(command: str) -> str | None:
    """sweeper or simulator where the command is one of theirs and no shell is needed beyond `> FILE`."""
    match = re.match(r"(?:\.venv/bin/)?python3? -m (sweeper|simulator)\b", command)
    return match.group(1) if match and not re.search(r"[|;&<]|\$\(", re.sub(r"(['\"]).*?\1", "", command)) else None


def _words(command: str) -> tuple[list[str], str]:
    """(arguments after the module's name, the file that stdout goes to)."""
    words = shlex.split(command)
    words = words[words.index("-m") + 2:]
    if ">" in words:
        at = words.index(">")
        return words[:at], words[at + 1]
    return words, ""


def _parse(module: str, words: list[str], command: str) -> None:
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            PARSER[module]().parse_args(words)
        except SystemExit as end:
            if end.code:
                choices = ("COMMAND",) if len(words) == 1 and words[0].isupper() else ()
                incomplete = "the following arguments are required" in errors.getvalue()
                assert choices or incomplete, f"{command}: {errors.getvalue().splitlines()[-1]}"
        except argparse.ArgumentError as error:
            raise AssertionError(f"{command}: {error}") from error


@pytest.mark.parametrize("name", ["my_npu", "my_service"])
def test_spaces_in_the_tutorials_are_the_files_they_link(name: str) -> None:
    page = {"my_npu": "tutorial-architect.md", "my_service": "tutorial-inference.md"}[name]
    shown = re.search(r"```yaml\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)
    assert shown and shown.group(1) in (ROOT / "examples" / "spaces" / f"{name}.yaml").read_text(encoding="utf-8")


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [p.name for p in (ROOT / "docs").glob("*.md") if p.name != "README.md" and f"]({p.name})" not in index] == []
