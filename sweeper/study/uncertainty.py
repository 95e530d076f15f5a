"""How exact objectives and constraints are that were measured on several replicates: the jackknife.

An objective is an expression over metrics, worth what it says of their means. Its share of each replicate is the
jackknife's pseudo-value, n f(all) - (n - 1) f(without that replicate) (Miller, "The jackknife - a review", Biometrika 61,
1974): of a plain metric just the replicate's value, of a ratio or a product what makes Student's interval hold for the
expression, too. Designs share the k-th replicate's trace, so pseudo-values of two designs can be paired (`sweeper.study.ties`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from simulator.analysis.confidence import half_width
from sweeper.space.expressions.expression import UndefinedError
from sweeper.space.space import Space

Samples = Mapping[str, Sequence[float]]  # metric -> its value in each replicate; those that vary


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


def unsure_constraints(space: Space, values: Mapping[str, Any], samples: Samples, count: int) -> dict[str, float]:
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
