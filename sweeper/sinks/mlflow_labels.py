"""The names of a study in MLflow: columns with units, tags, and the text above its charts. No MLflow here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from simulator.analysis.evidence import evidence
from simulator.results.metrics import ALL_METRICS
from simulator.silicon.money import BASIS_TEXT
from sweeper.space.space import Space
from sweeper.study.ledger import Header
from sweeper.study.results import objective_column, trial_design
from sweeper.study.trial import Trial

BASIS_TAG = "sweeper.cost_basis"  # of every run: what its amounts of money are


@dataclass(frozen=True)
class Labels:
    """What names a sweep in MLflow."""

    experiment: str  # the space's name
    study_id: str
    folder: Path  # of the study
    parameters: Mapping[str, Any]  # of the parent run
    columns: Mapping[str, str] = field(default_factory=dict)  # objective -> its name with the unit
    tags: Mapping[str, str] = field(default_factory=dict)  # of the parent run
    note: str = ""  # Markdown shown on the parent run's page
    tags_of: Callable[[Trial], Mapping[str, str]] = lambda trial: {}  # of a child run


def labels_of(space: Space, folder: Path, header: Header) -> Labels:
    """The labels of a study in `folder` whose ledger has that header."""
    same = {"sweeper.space": space.name, "sweeper.space_hash": header.space_hash, "sweeper.code_version": header.code_version}

    def tags_of(trial: Trial) -> Mapping[str, str]:
        design = trial_design(space, trial)
        rests = evidence(design.hardware)
        return {**same, "sweeper.model": design.model.name, "sweeper.hardware": design.hardware.name,
                BASIS_TAG: BASIS_TEXT[design.costs.cost_basis], "sweeper.time_rests_on": rests.time,
                "sweeper.power_rests_on": rests.power}

    return Labels(
        space.name, header.study_id, folder,
        {"space_hash": header.space_hash, "code_version": header.code_version, **header.settings},
        {o.name: objective_column(o) for o in space.objectives},
        {**same, "sweeper.model": _name(space, "model"), "sweeper.hardware": _name(space, "hardware"),
         BASIS_TAG: BASIS_TEXT[space.base_flat["costs.cost_basis"]]},
        note(space), tags_of)


def at_step(trial: Trial, columns: Mapping[str, str]) -> dict[str, float]:
    """Objectives, by their names with units, and the ends of their intervals."""
    return {**{columns.get(name, name): value for name, value in trial.objectives.items()}, **interval_ends(trial, columns)}


def result_of(trial: Trial, columns: Mapping[str, str]) -> dict[str, float]:
    """Objectives first (MLflow's charts start with them), then all metrics in base units, with the ends of their intervals."""
    found = at_step(trial, columns)
    for name, value in trial.metrics.items():
        column = ALL_METRICS[name].column
        found.setdefault(column, value)
        if name in trial.half_widths:
            found |= _ends(column, value, trial.half_widths[name])
    return found


def interval_ends(trial: Trial, columns: Mapping[str, str]) -> dict[str, float]:
    """`tpot_p95_ms.ci_low` and `.ci_high` of the objectives: their 95 % intervals; empty without replicates."""
    return {end: value for name in trial.replicates
            for end, value in _ends(columns.get(name, name), trial.objectives[name], trial.half_width(name)).items()}


def _ends(column: str, value: float, half_width: float) -> dict[str, float]:
    return {f"{column}.ci_low": value - half_width, f"{column}.ci_high": value + half_width}


def comparison(run_ids: Sequence[str], experiment_id: str) -> str:
    """Markdown: a link to MLflow's comparison of these runs, to follow on any page of the same server."""
    if len(run_ids) < 2:
        return ""
    runs, experiments = (quote(json.dumps(ids, separators=(",", ":")), safe="") for ids in (list(run_ids), [experiment_id]))
    return f"\n\n[Compare the {len(run_ids)} designs of the front](#/compare-runs?runs={runs}&experiments={experiments})"


def note(space: Space) -> str:
    """Markdown: what the space asks and under what conditions."""
    lines = [space.description.strip(), ""] if space.description.strip() else []
    lines += [f"- {o.direction} `{objective_column(o)}` = {o.expression.text}" + (f" ({o.basis})" if o.basis else "")
              for o in space.objectives]
    lines += [f"- subject to `{c.expression.text}`" for c in space.constraints]
    lines += ["", "Child runs are the Pareto front (`sweeper.kind` = `pareto`) and the baselines; the step of a chart here is the "
              f"trial's number. Amounts of money are {BASIS_TEXT[space.base_flat['costs.cost_basis']]}; what a design's time and "
              "power rest on is in its tags (`sweeper.time_rests_on`, `sweeper.power_rests_on`). The artifacts hold "
              "`report.html`, `pareto.csv` and every trial in `trials.parquet`."]
    return "\n".join(lines)


def _name(space: Space, section: str) -> str:
    """The base design's, or that several are tried."""
    varied = any(key == section for parameter in space.parameters for key in parameter.keys)
    return "several" if varied else str(space.base[section].get("name", ""))
