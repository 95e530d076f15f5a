"""`python -m sweeper completion` prints a shell's completion script for the `sweeper` and `simulator` commands."""

from __future__ import annotations

from argparse import Namespace

from simulator.inputs.cli import Parser

_FILES = {"space", "folder", "design", "hardware", "cache", "out", "steps", "source", "destination"}


def completion(args: Namespace) -> int:
    """Prints the script (made by shtab)."""
    print(script(args.program, args.shell))
    return 0


def script(program: str, shell: str) -> str:
    """The completion script of `program` (sweeper or simulator) for a shell."""
    import shtab

    from simulator.command_line import build_parser as simulator_parser
    from sweeper.command_line import build_parser as sweeper_parser

    parser = {"sweeper": sweeper_parser, "simulator": simulator_parser}[program]()
    assert isinstance(parser, Parser)
    parser.prog = program
    _complete_files(parser, shtab.FILE)
    text: str = shtab.complete(parser, shell)
    return text


def _complete_files(parser: Parser, files: object) -> None:
    for command in parser.commands.values():
        _complete_files(command, files)
    for action in parser.arguments:
        if action.dest in _FILES:
            action.complete = files  # type: ignore[attr-defined]
