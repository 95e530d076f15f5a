"""`python -m sweeper report`, `best` and `ui` show a study that exists."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path

from rich.console import Console

from simulator.inputs.errors import InputError
from sweeper.explain.rests import remarks, rests
from sweeper.sinks.mlflow_runs import default_uri
from sweeper.space.space import Space, describe
from sweeper.study import folder as study_folder
from sweeper.study import ledger
from sweeper.study.digest import Digest, digest
from sweeper.study.front import best_trial
from sweeper.study.results import write_best, write_results
from sweeper.study.trial import Trial


def report(args: Namespace) -> int:
    """Writes pareto.csv, trials.parquet, best/ and report.html again from the ledger, also while a sweep runs."""
    from sweeper.report.page import write_report

    folder = Path(args.folder)
    space, found = load_study(folder)
    write_results(folder, space, found)
    write_report(folder, space, found, args.budget)
    print(f"written to {folder}: report.html, pareto.csv, trials.parquet, best/")
    return 0


def best(args: Namespace) -> int:
    """Prints the best design of each objective, and writes best/."""
    folder = Path(args.folder)
    space, found = load_study(folder)
    console = Console()
    write_best(folder / "best", space, found.kept)
    for objective in space.objectives:
        trial = best_trial(found.kept, objective)
        if trial is None:
            raise InputError("has no feasible design yet", file=str(folder))
        others = ", ".join(f"{o.label} {trial.objectives[o.name]:.4g}" for o in space.objectives if o is not objective)
        console.print(f"[bold]{objective.direction} {objective.label}[/]: {trial.objectives[objective.name]:.4g}"
                      f" (trial {trial.number}; {others})", highlight=False, soft_wrap=True)
        console.print(f"  {describe(trial.parameters)}", highlight=False, markup=False, soft_wrap=True)
        for line in (*rests(space, [trial]), *remarks(space, [trial])):
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
        console.print(f"  python -m simulator run {folder}/best/best-{objective.name}.yaml", highlight=False,
                      markup=False, soft_wrap=True)
    return 0


def ui(args: Namespace) -> None:
    """Serves MLflow's web pages for a study until interrupted: on loopback, with one worker and no job runner
    (2 processes and 0.4 GB instead of 15 and 1.8 GB)."""
    uri = _tracking_uri(Path(args.folder))
    if uri.startswith(("http://", "https://")):
        print(f"this study is tracked by the server at {uri}")
        return
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    # the pages for training runs, else MLflow opens with those for chat traces; a study's own store has one experiment
    own = Path(uri.removeprefix("sqlite:///")).with_name(ledger.FILE_NAME).exists()
    page = "experiments/1/runs" if own else "experiments"
    print(f"MLflow UI: http://127.0.0.1:{args.port}/#/{page}?workflowType=machine_learning  (Ctrl-C ends it)", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1",
               "--port", str(args.port), "--workers", "1"]
    os.execvpe(command[0], command, environment)


def load_study(folder: Path) -> tuple[Space, Digest]:
    """The space of a study and what it has found. Raises InputError."""
    path = folder / ledger.FILE_NAME
    space = study_folder.space_of(folder, ledger.read_header(path))
    return space, digest(space, path)


def found_trial(found: Digest, name: str) -> Trial:
    """The trial of that number, or of a baseline of that name. Raises InputError."""
    for trial in found.trials():
        if name in (str(trial.number), trial.baseline):
            return trial
    known = ", ".join(str(t.number) for t in found.front[:8])
    raise InputError(f"no trial '{name}'" + (f"; on the front are {known}" if known else ""), file=str(found.path.parent))


def _tracking_uri(folder: Path) -> str:
    """Of the study in `folder`, or of the latest study below it."""
    ledgers = [folder / ledger.FILE_NAME] if (folder / ledger.FILE_NAME).exists() else sorted(
        folder.glob(f"*/{ledger.FILE_NAME}"), key=lambda path: path.stat().st_mtime, reverse=True)
    if not ledgers:
        raise InputError("no study here; run one with `python -m sweeper run SPACE`", file=str(folder))
    if len(ledgers) > 1:
        others = ", ".join(str(path.parent) for path in ledgers[1:6])
        print(f"the latest study is {ledgers[0].parent}; others: {others}")
    header = ledger.read_header(ledgers[0])
    uri = header.settings.get("tracking_uri") or default_uri(ledgers[0].parent)
    if uri == default_uri(ledgers[0].parent) and not (ledgers[0].parent / "mlflow.db").exists():
        raise InputError("MLflow has nothing of this study yet", file=str(ledgers[0].parent))
    return str(uri)
