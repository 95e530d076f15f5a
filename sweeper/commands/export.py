"""`export`: a trial's design in a form that other programs, or people, take."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

from simulator.inputs.errors import InputError
from sweeper.commands.show import load_study
from sweeper.exporting.sheet import sheet
from sweeper.exporting.vllm import vllm_commands
from sweeper.portable import portable_plain
from sweeper.results import design_yaml, trial_design, trial_of


def export(args: Namespace) -> int:
    """Prints the design, or writes it to --output. Raises InputError where it cannot be said in that form."""
    folder = Path(args.folder)
    space, found = load_study(folder)
    trial = trial_of(found, args.trial)
    design = trial_design(space, trial)
    title = f"Trial {trial.number} of {space.name}"
    if args.to == "vllm":
        text = f"# {title}\n" + vllm_commands(design, args.model)
    elif args.to == "sheet":
        text = sheet(design, title)
    elif args.to == "json":
        text = json.dumps(portable_plain(design), indent=2) + "\n"
    else:
        text = design_yaml(space, trial, args.output or "FILE")
    if args.output is None:
        sys.stdout.write(text)
        return 0
    try:
        Path(args.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=args.output) from error
    print(f"written to {args.output}")
    return 0
