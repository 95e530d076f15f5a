"""`python -m sweeper export` writes a trial's design as a vLLM command, a YAML to run, JSON, or a hardware summary."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simulator.analysis.evidence import evidence
from simulator.inputs.errors import InputError
from simulator.results.metrics import ALL_METRICS
from sweeper.commands.show import found_trial, load_study
from sweeper.export.sheet import sheet
from sweeper.export.vllm import runs_on_vllm, vllm_command
from sweeper.space.portable import portable_plain
from sweeper.space.space import Space
from sweeper.study.results import design_yaml, trial_design
from sweeper.study.trial import Trial


def export(args: Namespace) -> int:
    """Prints or writes the export. Raises InputError, also where the hardware has no such form."""
    space, found = load_study(Path(args.folder))
    text = exported(space, found_trial(found, args.trial), args.to, args.output)
    if args.output is None:
        sys.stdout.write(text)
        return 0
    try:
        Path(args.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=args.output) from None
    print(f"written to {args.output}")
    return 0


def exported(space: Space, trial: Trial, form: str, output: str | None = None) -> str:
    """The trial's design as text of a form: vllm, yaml, json or sheet."""
    if form == "yaml":
        return design_yaml(space, trial, output or "")
    design = trial_design(space, trial)
    reached = {o.name: f"{trial.objectives[o.name]:.6g} {o.shown_unit}".rstrip() for o in space.objectives
               if o.name in trial.objectives}
    title = f"Trial {trial.number} of {space.name}"
    if form == "sheet":
        return sheet(design, title, reached)
    if form == "vllm":
        lines = [title, *(f"{name} = {value} (simulated)" for name, value in reached.items())]
        return "#!/bin/sh\n" + "".join(f"# {line}\n" for line in lines) + vllm_command(design).text()
    plain: dict[str, Any] = {
        "study": space.name, "trial": trial.number, "status": trial.status, "baseline": trial.baseline,
        "parameters": trial.parameters, "objectives": trial.objectives, "units": {o.name: o.unit for o in space.objectives},
        "metrics": {ALL_METRICS[name].column: value for name, value in trial.metrics.items()},
        "cost_basis": design.costs.cost_basis, "evidence": asdict(evidence(design.hardware)),
        "vllm": list(vllm_command(design).arguments) if runs_on_vllm(design) else None,
        "design": portable_plain(design),
    }
    return json.dumps(plain, indent=2) + "\n"
