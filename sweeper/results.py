"""What a study leaves on disk: `pareto.csv`, `trials.parquet` and `best/`, designs that run by themselves."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from simulator.design import Design
from simulator.metrics import METRICS
from sweeper.grammar import Name
from sweeper.parameters import Grid, Parameter, label
from sweeper.pareto import eligible, front
from sweeper.portable import portable_plain
from sweeper.space import Objective, Space
from sweeper.trial import Trial

# Metrics that stand beside the objectives in pareto.csv; trials.parquet has all.
KEY_METRICS = ("ttft_p50", "ttft_p99", "tpot_p50", "tpot_p99", "e2e_p99", "output_throughput", "goodput",
               "slo_attainment", "energy_per_token", "power", "devices", "capital", "cost_per_hour",
               "cost_per_million_tokens", "kv_use_peak", "preemptions")
MAX_BEST = 50  # designs of the front written to best/


def write_results(folder: Path, space: Space, trials: Sequence[Trial]) -> None:
    """Writes pareto.csv, trials.parquet and best/ into `folder`, each replaced as a whole."""
    pareto = front(trials, space.objectives)
    write_pareto(folder / "pareto.csv", space, pareto)
    write_trials(folder / "trials.parquet", space, trials)
    write_best(folder / "best", space, trials)


def write_pareto(path: Path, space: Space, pareto: Sequence[Trial]) -> None:
    """One row a design: trial number, objectives, parameters, key metrics; units in the column names.

    The same trials give the same bytes. A parameter that does not exist in a design is an empty cell.
    """
    objectives = {objective_column(o): o for o in space.objectives}
    metrics = [m for m in KEY_METRICS if METRICS[m].column not in objectives and any(m in t.metrics for t in pareto)]
    header = ["trial", *objectives, *(parameter_column(p) for p in space.parameters),
              *(METRICS[m].column for m in metrics), "design_key"]
    with _replacing(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for trial in pareto:
            writer.writerow([
                trial.number, *(repr(float(trial.objectives[o.name])) for o in objectives.values()),
                *(label(trial.parameters[p.name]) if p.name in trial.parameters else "" for p in space.parameters),
                *(repr(float(trial.metrics[m])) if m in trial.metrics else "" for m in metrics), trial.design_key])
    _replacing(path).replace(path)


def write_trials(path: Path, space: Space, trials: Sequence[Trial]) -> None:
    """Every trial as a typed table; columns as in pareto.csv, all metrics, violations as `violation: <constraint>`."""
    pq.write_table(trials_table(space, trials), _replacing(path))
    _replacing(path).replace(path)


def trials_table(space: Space, trials: Sequence[Trial]) -> pa.Table:
    """Every trial, by number. Absent values are null; `pareto` says whether the trial is on the front."""
    ordered = sorted(trials, key=lambda t: t.number)
    on_front = {t.number for t in front(trials, space.objectives)}
    columns: dict[str, list[Any]] = {
        "trial": [t.number for t in ordered], "status": [t.status for t in ordered],
        "reason": [t.reason for t in ordered], "baseline": [t.baseline for t in ordered],
        "pareto": [t.number in on_front for t in ordered],
    }
    for objective in space.objectives:
        columns[objective_column(objective)] = _floats(t.objectives.get(objective.name) for t in ordered)
    for parameter in space.parameters:
        columns[parameter_column(parameter)] = [t.parameters.get(parameter.name) for t in ordered]
    for name, metric in METRICS.items():
        if metric.column not in columns and any(name in t.metrics for t in ordered):
            columns[metric.column] = _floats(t.metrics.get(name) for t in ordered)
    for name in dict.fromkeys(name for t in ordered for name in t.constraints):
        columns[f"violation: {name}"] = _floats(t.constraints.get(name) for t in ordered)
    columns |= {"design_key": [t.design_key for t in ordered], "evaluation_s": [t.seconds for t in ordered],
                "worker": [t.worker for t in ordered], "attempt": [t.attempt for t in ordered],
                "cached": [t.cached for t in ordered]}
    return pa.table({name: _typed(values) for name, values in columns.items()})


def _floats(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else float(value) for value in values]


def _typed(values: list[Any]) -> pa.Array:
    """The narrowest column type that holds all values; lists and mixtures as text."""
    types = {type(v) for v in values if v is not None}
    if types <= {bool}:
        return pa.array(values, pa.bool_())
    if types <= {int}:
        return pa.array(values, pa.int64())
    if types <= {int, float}:
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    return pa.array([None if v is None else label(v) for v in values], pa.string())


def write_best(folder: Path, space: Space, trials: Sequence[Trial]) -> list[Path]:
    """The designs of the front (the first MAX_BEST) and the best of each objective, as YAML for `python -m simulator`.

    Files of an earlier call are removed. Returns the paths written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("trial-*.yaml"), *folder.glob("best-*.yaml")):
        old.unlink()
    chosen = {f"trial-{trial.number:05d}.yaml": trial for trial in front(trials, space.objectives)[:MAX_BEST]}
    for objective in space.objectives:
        if (best := best_trial(trials, objective)) is not None:
            chosen[f"best-{objective.name}.yaml"] = best
    for name, trial in chosen.items():
        (folder / name).write_text(design_yaml(space, trial, name), encoding="utf-8")
    return [folder / name for name in chosen]


def best_trial(trials: Sequence[Trial], objective: Objective) -> Trial | None:
    """The eligible trial with the best value of one objective (the earliest of equals); None without any."""
    sign = 1.0 if objective.direction == "minimize" else -1.0
    return min(eligible(trials), key=lambda t: (sign * t.objectives[objective.name], t.number), default=None)


def trial_design(space: Space, trial: Trial) -> Design:
    """The design that a trial evaluated. Raises InputError if the space no longer has it."""
    for baseline in space.baselines:
        if trial.baseline == baseline.name and not trial.parameters:
            return baseline.design
    return space.design(space.canonical(trial.parameters))


def design_yaml(space: Space, trial: Trial, name: str) -> str:
    """A trial's complete design as YAML, with what it reached as comments."""
    plain = portable_plain(trial_design(space, trial))
    lines = [f"Trial {trial.number} of {space.name}" + (f", baseline {trial.baseline}" if trial.baseline else ""),
             *(f"{o.name} = {trial.objectives[o.name]:.6g} {o.unit}" for o in space.objectives),
             f"python -m simulator run best/{name}"]
    return "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(plain, sort_keys=False, width=110)


def objective_column(objective: Objective) -> str:
    """Name and unit: 'ttft_p99_s'; a metric in its own unit has the metric's column name."""
    tree = objective.expression.tree
    if isinstance(tree, Name) and tree.name == objective.name and objective.name in METRICS \
            and objective.unit == METRICS[objective.name].unit:
        return METRICS[objective.name].column
    return objective.name + _suffix(objective.unit)


def parameter_column(parameter: Parameter) -> str:
    """The parameter's name, with the unit where its values are numbers of one."""
    return parameter.name + (_suffix(parameter.domain.unit) if isinstance(parameter.domain, Grid) else "")


def _suffix(unit: str) -> str:
    """'TB/s' -> '_TB_per_s', 'USD/Mtok' -> '_USD_per_Mtok'."""
    text = re.sub(r"\*\*|\^", "", unit.replace("/", "_per_").replace("%", "percent").replace("$", "USD"))
    return "_" + re.sub(r"[^A-Za-z0-9_]+", "_", text) if unit else ""


def _replacing(path: Path) -> Path:
    """Where a file is written before it takes `path`'s place, so that a reader never sees half of it."""
    return path.with_name(path.name + ".new")
