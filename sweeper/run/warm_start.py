"""The warm start of a study: results of identical designs, and good designs to try first, from earlier studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simulator.design_key import design_key
from simulator.inputs.errors import InputError
from simulator.version import simulator_version
from sweeper.space.expressions.symbols import flatten
from sweeper.space.file import load_space
from sweeper.space.space import Space, Values
from sweeper.study import ledger
from sweeper.study.folder import SPACE_FILE
from sweeper.study.front import front
from sweeper.study.trial import Trial
from sweeper.workers.verdict import judge

MAX_SEEDS = 64  # designs of earlier fronts that are proposed first


@dataclass(frozen=True)
class WarmStart:
    """taken: trials of the new study that need no simulation, numbered as its first. seeds: points to propose first."""

    taken: list[Trial]
    seeds: list[Values]


def warm_start(folders: Sequence[Path], space: Space) -> WarmStart:
    """What the studies in `folders` have for `space`.

    A result is taken over where the design is identical (its content key, which covers model, hardware, parallelism,
    serving, workload, SLO and costs), this version of the simulator made it, and it has every metric that the space reads;
    it is judged again. Other designs of their fronts that the space contains are seeds. Raises InputError where a folder
    holds no study.
    """
    results: dict[str, Trial] = {}
    points: dict[str, tuple[Values, Trial]] = {}  # of the new space, by key
    ahead: list[str] = []
    for folder in folders:
        header = ledger.read_header(folder / ledger.FILE_NAME)
        other = load_space(folder / SPACE_FILE)
        _, trials = ledger.read(folder / ledger.FILE_NAME, [objective.name for objective in other.objectives])
        full = [t for t in trials if not t.rung and t.metrics and t.status != "failed"]
        if header.code_version == simulator_version():
            results.update({t.design_key: t for t in full if t.design_key and _covers(t, space, other)})
        best = {t.number for t in front(full, other.objectives)}
        for trial in full:
            point = _point(space, trial)
            if point is not None:
                points[space.key(point)] = point, trial
                ahead += [space.key(point)] if trial.number in best else []
    return _sorted_out(space, results, points, ahead)


def _sorted_out(space: Space, results: dict[str, Trial], points: dict[str, tuple[Values, Trial]],
                ahead: list[str]) -> WarmStart:
    taken: list[Trial] = []
    for number, baseline in enumerate(space.baselines):
        known = results.get(design_key(baseline.design))
        if known is not None:
            verdict = judge(space, flatten(baseline.design), known.metrics, known.samples)
            taken.append(_renewed(known, number, {}, verdict, baseline.name))
    held: set[str] = set()
    for key, (point, _) in points.items():
        try:
            known = results.get(space.keyed_design(point)[1])
        except InputError:  # a combination that the schema refuses
            continue
        if known is not None:
            number = len(space.baselines) + len(held)
            verdict = judge(space, space.flat(point), known.metrics, known.samples)
            taken.append(_renewed(known, number, point, verdict, ""))
            held.add(key)
    seeds = [points[key][0] for key in dict.fromkeys(ahead) if key not in held]
    return WarmStart(taken, seeds[:MAX_SEEDS])


def _renewed(known: Trial, number: int, point: Values, verdict: Any, baseline: str) -> Trial:
    return replace(known, number=number, parameters=dict(point), status=verdict.status, objectives=verdict.objectives,
                   constraints=verdict.constraints, reason=verdict.reason, baseline=baseline, cached=True, seconds=0.0,
                   replicates=verdict.replicates, unsure=verdict.unsure)


def _covers(trial: Trial, space: Space, other: Space) -> bool:
    """Whether a trial's metrics are all that the space's expressions read, and mean the same."""
    if space.capacity is not None and space.capacity != other.capacity:
        return False
    single = trial.half_widths.keys() - trial.samples.keys()  # metrics that vary and whose replicates were not kept
    return space.metrics_read <= trial.metrics.keys() - single


def _point(space: Space, trial: Trial) -> Values | None:
    """The point of `space` with the trial's values of its parameters; None where it has none."""
    names = {p.name for p in space.parameters}
    try:
        return space.canonical({name: value for name, value in trial.parameters.items() if name in names})
    except InputError:
        return None
