"""The comparison of a design with a baseline: as it is, and at the design's own precision and engine settings.

Where the two have different numbers of devices, what grows with them is also compared per device, and rates per dollar.
Amounts are compared on one basis only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from simulator.design.design import Design
from simulator.design.load import validate
from simulator.design_key import design_key
from simulator.inputs.errors import InputError
from simulator.results.metrics import BURDENS, RATES
from simulator.silicon.money import bill
from sweeper.explain.why import MAX_SECONDS
from sweeper.space.expressions.grammar import Name
from sweeper.space.objectives import Objective
from sweeper.space.space import Space
from sweeper.study.results import trial_design
from sweeper.study.trial import Trial
from sweeper.workers.evaluator import SimEvaluator, plugged

OWN = "as it is"
EQUAL = "at the design's precision and engine settings"
# of `serving`, what belongs to the device and not to how the engine is set
DEVICES_OWN = ("num_gpu_blocks", "cuda_graphs")

Changes = Mapping[str, float]  # objective -> design over baseline minus 1; without those that have no such ratio


@dataclass(frozen=True)
class Comparison:
    """A design over a baseline minus 1, by objective. `settings`: OWN or EQUAL, the baseline's. With equally many devices there
    is nothing per device and per dollar. `note`: why there is no comparison, or which amounts are left out of it."""

    baseline: str
    settings: str
    devices: tuple[int, int]  # of the design, of the baseline; 0 where not known
    changes: Changes
    per_device: Changes
    per_dollar: Changes  # per USD/h
    note: str = ""


def compared(space: Space, trial: Trial, baseline: Trial, settings: str = OWN) -> Comparison:
    """`trial` over `baseline`, of their results."""
    refused = mixed_prices(space, trial, baseline)
    shown = [o for o in space.objectives if not (refused and o.basis)]
    counts = tuple(int(t.metrics.get("devices", 0)) for t in (trial, baseline))
    differ = counts[0] != counts[1] and all(counts)
    return Comparison(
        baseline.baseline, settings, (counts[0], counts[1]),
        _changes(trial.objectives, baseline.objectives, shown),
        _changes(_per(trial, "devices"), _per(baseline, "devices"),
                 [o for o in shown if _reads(o) in RATES | BURDENS]) if differ else {},
        _changes(_per(trial, "cost_per_hour"), _per(baseline, "cost_per_hour"),
                 [o for o in shown if _reads(o) in RATES]) if differ and not refused else {},
        refused)


def mixed_prices(space: Space, trial: Trial, other: Trial) -> str:
    """Why amounts of the two are not compared: a list price and the estimate of one are not on one basis; '' where they are."""
    try:
        devices = [(d.hardware.name, bill(d.hardware, d.costs).estimated) for d in (trial_design(space, t) for t in (trial, other))]
    except InputError:
        return ""
    if devices[0][1] == devices[1][1]:
        return ""
    (listed, _), (estimated, _) = sorted(devices, key=lambda device: device[1])
    return (f"no percentage of amounts: {listed} has a list price, {estimated} is estimated as a challenger would sell it; "
            f"costs.cost_basis owned_bom prices both alike")


def comparisons(space: Space, trial: Trial, baselines: Iterable[Trial], *,
                again: bool = True) -> Iterator[tuple[Trial, list[Comparison]]]:
    """Each baseline with its comparisons: as it is, where it is feasible, and at equal settings where these differ from its own
    and simulations are quick and safe in this process. again: whether baselines may be simulated at all."""
    evaluator: SimEvaluator | None = None
    for baseline in baselines:
        found = [compared(space, trial, baseline)] if baseline.status == "complete" else []
        if again and max(trial.seconds, baseline.seconds) <= MAX_SECONDS and not plugged(space):
            evaluator = evaluator or SimEvaluator(space, {})
            equal = at_equal_settings(space, trial, baseline, evaluator)
            found += [equal] if equal is not None else []
        yield baseline, found


def at_equal_settings(space: Space, trial: Trial, baseline: Trial, evaluator: SimEvaluator) -> Comparison | None:
    """The same with the baseline at the trial's precision and engine settings, simulated; None where these are its own."""
    def without(why: str) -> Comparison:
        return Comparison(baseline.baseline, EQUAL, (0, 0), {}, {}, {}, why)

    try:
        theirs = trial_design(space, baseline)
        equal = equalised(trial_design(space, trial), theirs, space.file)
    except InputError as error:
        return without(f"cannot be built: {error.message}")
    if design_key(equal) == design_key(theirs):
        return None
    found = evaluator.of_design(equal, baseline)
    return compared(space, trial, found, EQUAL) if found.status == "complete" else without(f"no feasible design: {found.reason}")


def equalised(design: Design, baseline: Design, file: str | None = None) -> Design:
    """`baseline` with `design`'s precision, engine and scheduler settings, and its host's time where no engine gives it: what
    is left to differ is hardware and parallelism. Raises InputError for a combination that cannot be built."""
    mine, plain = design.to_plain(), baseline.to_plain()
    for section in ("precision", "engine", "serving"):
        if section in mine:
            plain[section] = mine[section]
        else:
            plain.pop(section, None)
    own = baseline.serving.model_dump(mode="json", by_alias=True, exclude_none=True)
    plain["serving"] = {**{k: v for k, v in plain.get("serving", {}).items() if k not in DEVICES_OWN},
                        **{k: own[k] for k in DEVICES_OWN if k in baseline.serving.model_fields_set}}
    if design.engine is None:
        plain["hardware"] = {**plain["hardware"], "host": mine["hardware"]["host"]}
    return validate(plain, file=None if file is None else Path(file).name)


def said(comparison: Comparison, objectives: Iterable[Objective]) -> str:
    """'goodput +87 % (-77 % a device, -76 % a USD/h), cost_per_hour +681 % (-2 % a device)'."""
    parts = []
    for o in objectives:
        if o.name not in comparison.changes:
            continue
        more = [f"{changes[o.name]:+.0%} {unit}" for changes, unit in
                ((comparison.per_device, "a device"), (comparison.per_dollar, "a USD/h")) if o.name in changes]
        parts.append(f"{o.name} {comparison.changes[o.name]:+.0%}" + (f" ({', '.join(more)})" if more else ""))
    return "; ".join(part for part in (", ".join(parts), comparison.note) if part)


def _changes(mine: Mapping[str, float], theirs: Mapping[str, float], objectives: Iterable[Objective]) -> dict[str, float]:
    return {o.name: mine[o.name] / theirs[o.name] - 1 for o in objectives
            if o.name in mine and o.name in theirs and theirs[o.name] > 0}


def _per(trial: Trial, metric: str) -> dict[str, float]:
    amount = trial.metrics.get(metric, 0.0)
    return {name: value / amount for name, value in trial.objectives.items()} if amount > 0 else {}


def _reads(objective: Objective) -> str:
    """The metric that the objective is; '' for an expression of several."""
    tree = objective.expression.tree
    return tree.name if isinstance(tree, Name) else ""
