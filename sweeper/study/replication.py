"""Replicates of a design: how exact its objectives and constraints are, and which trials tie.

An objective is an expression over metrics, worth what it says of their means. Its share of each replicate is the
jackknife's pseudo-value, n f(all) - (n - 1) f(without that replicate) (Miller, "The jackknife - a review", Biometrika 61,
1974): of a plain metric just the replicate's value, of a ratio or a product what makes Student's interval hold for the
expression, too. Designs share the k-th replicate's trace, so pseudo-values of two designs can be paired (`sweeper.study.ties`).

The replicates of all trials of a study are held as arrays, with the ties that they show: 8 bytes for each objective and
replicate.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulator.analysis.confidence import half_width
from sweeper.space.expressions.expression import UndefinedError
from sweeper.space.space import Space
from sweeper.study import ledger
from sweeper.study.front import eligible, signs
from sweeper.study.ties import Measured, close, measured
from sweeper.study.trial import Trial

Samples = Mapping[str, Sequence[float]]  # metric -> its value in each replicate; those that vary


class Replicated:
    """What one pass over a ledger has seen; nothing of trials without replicates."""

    def __init__(self, space: Space) -> None:
        self._names = [o.name for o in space.objectives]
        self._signs, self._count = signs(space.objectives), space.replicates
        self._offsets, self._values, self._replicates = array("q"), array("d"), array("d")
        self.half_widths: set[str] = set()

    def add(self, trial: Trial, offset: int) -> None:
        """Takes a trial into account, whose line begins at `offset`."""
        self.half_widths.update(trial.half_widths)
        if self._usable(trial) and eligible([trial]):
            self._offsets.append(offset)
            for name in self._names:
                self._values.append(trial.objectives[name])
                self._replicates.extend(trial.replicates[name])

    def ties(self, path: Path, front: Sequence[Trial]) -> tuple[dict[int, list[int]], list[Trial]]:
        """(trial -> trials of the front that it ties with, the trials behind the front but within its noise)."""
        ahead = [trial for trial in front if self._usable(trial)]
        if not ahead:
            return {}, []
        best = measured([[t.objectives[n] for n in self._names] for t in ahead],
                        [[t.replicates[n] for n in self._names] for t in ahead], self._signs)
        shape = (len(self._offsets), len(self._names))
        everyone = Measured(np.array(self._values).reshape(shape) * self._signs,
                            np.array(self._replicates).reshape(*shape, self._count) * self._signs[:, None])
        found = close(best, everyone)
        rows = sorted(found.near)
        there = list(ledger.at_offsets(path, [self._offsets[row] for row in rows]))
        own = {trial.number: found.near[row] for row, trial in zip(rows, there, strict=True)}
        near = eligible(there)
        numbers = [trial.number for trial in ahead]
        ties = {numbers[i]: [numbers[j] for j in others] for i, others in found.among.items()}
        return ties | {t.number: [numbers[j] for j in own[t.number]] for t in near}, near

    def _usable(self, trial: Trial) -> bool:
        return all(len(trial.replicates.get(name, ())) == self._count for name in self._names)


def read_samples(space: Space, runs: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Of the replicates' metrics those that the space's expressions read and that differ between replicates."""
    read = sorted(space.metrics_read & runs[0].keys())
    samples = {name: [float(run[name]) for run in runs] for name in read}
    return {name: values for name, values in samples.items() if max(values) > min(values)}


def pseudo_values(function: Callable[[Mapping[str, Any]], float], values: Mapping[str, Any], samples: Samples,
                  count: int) -> list[float]:
    """The replicates' shares [count] of `function` at `values` (means and whatever else it reads).

    Raises UndefinedError where it has no value without one of them.
    """
    whole = function(values)
    shares = []
    for k in range(count):
        without = {name: values[name] + (values[name] - own[k]) / (count - 1) for name, own in samples.items()}
        shares.append(whole + (count - 1) * (whole - function({**values, **without})))
    return shares


def objective_shares(space: Space, values: Mapping[str, Any], samples: Samples, count: int) -> dict[str, list[float]]:
    """Objective -> pseudo-values in its unit; objectives without are left out."""
    found = {}
    for objective in space.objectives:
        try:
            found[objective.name] = pseudo_values(objective.value, values, samples, count)
        except UndefinedError:
            continue
    return found


def undecided_constraints(space: Space, values: Mapping[str, Any], samples: Samples, count: int) -> dict[str, float]:
    """Constraint -> half-width of its violation, where the 95 % interval around the violation has the limit inside."""
    found = {}
    for constraint in space.constraints:
        if not constraint.expression.metrics & samples.keys():
            continue
        try:
            shares = pseudo_values(constraint.expression.violation, values, samples, count)
            width = half_width(shares)
            if abs(constraint.expression.violation(values)) <= width:
                found[constraint.name] = width
        except UndefinedError:
            continue
    return found
