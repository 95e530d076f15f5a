"""`python -m sweeper run SPACE` starts a new study, and `resume DIR` continues one."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from rich.console import Console

from simulator.design.load import parse_override
from sweeper.commands.ending import print_ending
from sweeper.run.launch import launch
from sweeper.run.progress import Progress
from sweeper.run.settings import Options, Plan, new_study, resumed_study
from sweeper.space.file import load_space

EXIT_CODES = {"interrupted": 130, "failing": 1}


def run(args: Namespace) -> int:
    """Sweeps a space into a new folder; the exit code: 0, 130 when interrupted, 1 when every design fails."""
    space = load_space(args.space, dict(parse_override(text) for text in args.overrides))
    folder = Path(args.out) if args.out else Path("runs") / space.name
    return _sweep(lambda progress: new_study(folder, space, _options(args), progress), folder, quiet=args.quiet)


def resume(args: Namespace) -> int:
    """Continues a study; nothing that finished is evaluated again."""
    folder = Path(args.folder)
    return _sweep(lambda _: resumed_study(folder, _options(args)), folder, quiet=args.quiet)


def _options(args: Namespace) -> Options:
    """The options of the command line, which have the same names."""
    return Options(**{field.name: value for field in fields(Options) if (value := getattr(args, field.name, None)) is not None})


def _sweep(prepare: Callable[[Progress], Plan], folder: Path, *, quiet: bool) -> int:
    try:
        with Progress(Console(stderr=True), quiet=quiet) as progress:
            plan = prepare(progress)
            ending = launch(plan, progress)
    except KeyboardInterrupt:
        print(f"interrupted; continue with `python -m sweeper resume {folder}`", file=sys.stderr)
        return EXIT_CODES["interrupted"]
    if not quiet:
        print_ending(Console(width=None if sys.stdout.isatty() else 160), folder, plan.space, plan.settings, ending)
    return EXIT_CODES.get(ending.why, 0)
