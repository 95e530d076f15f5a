"""The result files of a study: `pareto.csv`, `trials.parquet` and `best/`, designs that run by themselves."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from simulator.design.design import Design
from simulator.results.metrics import ALL_METRICS
from simulator.silicon.money import BASIS_WORD
from sweeper.space.expressions.grammar import Name
from sweeper.space.objectives import Objective
from sweeper.space.parameters import Choices, Grid, Parameter, label
from sweeper.space.portable import portable_plain
from sweeper.space.space import Space
from sweeper.study.digest import Digest
from sweeper.study.front import best_trial, front
from sweeper.study.trial import Trial

try:  # libyaml writes the same text eight times as fast
    from yaml import CSafeDumper as SafeDumper
except ImportError:
    from yaml import SafeDumper  # type: ignore[assignment]

# Metrics that stand next to the objectives in pareto.csv; trials.parquet has all.
KEY_METRICS = ("ttft_p50", "ttft_p99", "tpot_p50", "tpot_p99", "e2e_p99", "output_throughput", "goodput",
               "slo_attainment", "energy_per_token", "power", "devices", "capital", "cost_per_hour",
               "cost_per_million_tokens", "capacity", "capacity_low", "capacity_high", "goodput_at_slo",
               "cost_per_million_tokens_at_slo", "kv_use_peak", "preemptions")
T = TypeVar("T")
TRIALS_FILE = "trials.parquet"
ROW_GROUP = 8192  # trials in memory at once while trials.parquet is written
MAX_BEST = 50  # designs of the front written to best/


def write_results(folder: Path, space: Space, found: Digest) -> None:
    """Writes pareto.csv, trials.parquet and best/ into `folder`, each replaced as a whole."""
    write_pareto(folder / "pareto.csv", space, found)
    write_trials(folder / TRIALS_FILE, space, found)
    write_best(folder / "best", space, found.kept)


def write_pareto(path: Path, space: Space, found: Digest) -> None:
    """One row a design: trial number, objectives, parameters, key metrics; units in the column names. With replicates
    also the objectives' half-widths, constraints that may hold as well as not, and trials that the design ties with.

    The same trials give the same bytes. A parameter that does not exist in a design is an empty cell.
    """
    pareto = found.front
    objectives = {objective_column(o): o for o in space.objectives}
    metrics = [m for m in KEY_METRICS if ALL_METRICS[m].column not in objectives and any(m in t.metrics for t in pareto)]
    noise = [*(half_width_column(o.name, column) for column, o in objectives.items()), "ties_with", "unsure"]
    header = ["trial", *objectives, *(parameter_column(p) for p in space.parameters),
              *(ALL_METRICS[m].column for m in metrics), *(noise if space.replicates > 1 else []), "design_key"]
    ties = ties_both_ways(found)
    with _replacing(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for trial in pareto:
            writer.writerow([
                trial.number, *(repr(float(trial.objectives[o.name])) for o in objectives.values()),
                *(label(trial.parameters[p.name]) if p.name in trial.parameters else "" for p in space.parameters),
                *(repr(float(trial.metrics[m])) if m in trial.metrics else "" for m in metrics),
                *([*(repr(trial.half_width(o.name)) if o.name in trial.replicates else "" for o in space.objectives),
                   " ".join(map(str, ties.get(trial.number, ()))), ", ".join(trial.unsure)] if space.replicates > 1 else []),
                trial.design_key])
    _replacing(path).replace(path)


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, evenly, the first and the last included."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def ties_both_ways(found: Digest) -> dict[int, list[int]]:
    """Trial -> trials that it ties with: of one on the front also those behind it."""
    pairs = {(a, b) for a, others in found.ties.items() for b in others}
    ties: dict[int, list[int]] = {}
    for a, b in sorted(pairs | {(b, a) for a, b in pairs}):
        ties.setdefault(a, []).append(b)
    return ties


def write_trials(path: Path, space: Space, found: Digest) -> None:
    """Every trial as a typed table; columns as in pareto.csv, all metrics, violations as `violation: <constraint>`."""
    columns = trials_columns(space, found)
    trials = found.trials()
    with pq.ParquetWriter(_replacing(path), trials_table(columns, []).schema) as writer:
        while batch := list(islice(trials, ROW_GROUP)):
            writer.write_table(trials_table(columns, batch))
    _replacing(path).replace(path)


Columns = dict[str, tuple[pa.DataType, Callable[[Trial], Any]]]  # name -> type, and what stands there for a trial


def trials_table(columns: Columns, trials: Sequence[Trial]) -> pa.Table:
    """Trials in `columns`; absent values are null."""
    return pa.table({name: pa.array([value(trial) for trial in trials], kind) for name, (kind, value) in columns.items()})


def trials_columns(space: Space, found: Digest) -> Columns:
    """The columns of a study; a metric or a constraint that no trial has is left out. `pareto`: whether the trial is on the
    front."""
    number, text, flag, count = pa.float64(), pa.string(), pa.bool_(), pa.int64()
    on_front, ties = {t.number for t in found.front}, ties_both_ways(found)
    columns: Columns = {"trial": (count, lambda t: t.number), "status": (text, lambda t: t.status),
                        "reason": (text, lambda t: t.reason), "baseline": (text, lambda t: t.baseline),
                        "pareto": (flag, lambda t: t.number in on_front)}
    columns |= {objective_column(o): (number, _entry("objectives", o.name)) for o in space.objectives}
    columns |= {parameter_column(p): (_parameter_type(p), _parameter_value(p)) for p in space.parameters}
    for name, metric in ALL_METRICS.items():
        if name in found.metrics:
            columns.setdefault(metric.column, (number, _entry("metrics", name)))
    if space.replicates > 1:
        for o in space.objectives:
            columns[half_width_column(o.name, objective_column(o))] = number, partial(_objective_width, o.name)
        for name, metric in ALL_METRICS.items():
            if name in found.half_widths:
                columns.setdefault(half_width_column(name, metric.column), (number, partial(_metric_width, name)))
        columns["ties_with"] = text, lambda t: " ".join(map(str, ties[t.number])) if t.number in ties else None
        columns["unsure"] = text, lambda t: ", ".join(t.unsure) or None
    columns |= {f"violation: {name}": (number, _entry("constraints", name)) for name in found.violations}
    return columns | {"design_key": (text, lambda t: t.design_key), "evaluation_s": (number, lambda t: t.seconds),
                      "worker": (text, lambda t: t.worker), "attempt": (count, lambda t: t.attempt),
                      "cached": (flag, lambda t: t.cached)}


def _entry(field: str, name: str) -> Callable[[Trial], Any]:
    return lambda trial: getattr(trial, field).get(name)


def _parameter_value(parameter: Parameter) -> Callable[[Trial], Any]:
    name = parameter.name
    if not pa.types.is_string(_parameter_type(parameter)):
        return lambda t: t.parameters.get(name)
    return lambda t: label(t.parameters[name]) if name in t.parameters else None


def _parameter_type(parameter: Parameter) -> pa.DataType:
    """The narrowest column type that holds all values; lists and mixtures as text."""
    domain = parameter.domain
    values = domain.values if isinstance(domain, Choices) else (domain.low, *(() if domain.whole else (0.5,)))
    types = {type(v) for v in values}
    if types <= {bool}:
        return pa.bool_()
    if types <= {int}:
        return pa.int64()
    return pa.float64() if types <= {int, float} else pa.string()


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
        (folder / name).write_text(design_yaml(space, trial, f"best/{name}"), encoding="utf-8")
    return [folder / name for name in chosen]


def trial_design(space: Space, trial: Trial) -> Design:
    """The design that a trial evaluated. Raises InputError if the space no longer has it."""
    for baseline in space.baselines:
        if trial.baseline == baseline.name and not trial.parameters:
            return baseline.design
    return space.design(space.canonical(trial.parameters))


def design_yaml(space: Space, trial: Trial, path: str = "") -> str:
    """A trial's complete design as YAML, with what it reached and how to run it at `path` as comments."""
    plain = portable_plain(trial_design(space, trial))
    lines = [f"Trial {trial.number} of {space.name}" + (f", baseline {trial.baseline}" if trial.baseline else ""),
             *(f"{o.name} = {trial.objectives[o.name]:.6g} {o.shown_unit}" for o in space.objectives if o.name in trial.objectives),
             *([f"python -m simulator run {path}"] if path else [])]
    return "".join(f"# {line}\n" for line in lines) + yaml.dump(plain, Dumper=SafeDumper, sort_keys=False, width=110)


def metric_label(space: Space, name: str) -> str:
    """A metric and its unit for people, amounts with their basis: 'capital (USD, BOM)'."""
    unit = ALL_METRICS[name].unit
    basis = BASIS_WORD[space.base_flat["costs.cost_basis"]] if "USD" in unit else ""
    told = ", ".join(part for part in (unit, basis) if part)
    return f"{name} ({told})" if told else name


def objective_column(objective: Objective) -> str:
    """Name and unit: 'ttft_p99_s'; a metric in its own unit has the metric's column name."""
    tree = objective.expression.tree
    if isinstance(tree, Name) and tree.name == objective.name and objective.name in ALL_METRICS \
            and objective.unit == ALL_METRICS[objective.name].unit:
        return ALL_METRICS[objective.name].column
    return objective.name + _suffix(objective.unit)


def half_width_column(name: str, column: str) -> str:
    """Where the half-width of what stands in `column` (a name and its unit) stands: 'ttft_p99_half_width_s'."""
    return f"{name}_half_width{column.removeprefix(name)}"


def _metric_width(metric: str, trial: Trial) -> float | None:
    """0 where the metric does not vary, None for a trial that was not simulated."""
    return trial.half_widths.get(metric, 0.0) if metric in trial.metrics else None


def _objective_width(objective: str, trial: Trial) -> float | None:
    return trial.half_width(objective) if objective in trial.replicates else None


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
