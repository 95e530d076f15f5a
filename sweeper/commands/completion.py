"""`python -m sweeper completion` prints a shell's completion script for the `sweeper` and `simulator` commands."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _SubParsersAction

SHELLS = ("bash", "zsh", "fish")
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
    parser.prog = program
    _complete_files(parser, shtab.FILE)
    text: str = shtab.complete(parser, shell)
    return text


def _complete_files(parser: ArgumentParser, files: object) -> None:
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for child in action.choices.values():
                _complete_files(child, files)
        elif action.dest in _FILES:
            action.complete = files  # type: ignore[attr-defined]
