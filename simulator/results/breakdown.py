"""The breakdown of a run's time and energy by operator, by bound and by device.

Metrics need each operator's time and energy only (`operator_totals`); `breakdown` also says what bound it, for people who ask.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.devices.device import Bound
from simulator.engine.result import EngineResult
from simulator.model.operators import causal_pairs
from simulator.pricing import grids
from simulator.pricing.curves import Curve
from simulator.pricing.price import OperatorPrices

Float64 = NDArray[np.float64]

_BOUND_NAMES = [bound.label for bound in Bound]


@dataclass(frozen=True)
class OperatorTime:
    """One operator over a whole run. `seconds` is busy time of one rank, all pipeline stages added up (operators that
    overlap both count); `by_bound_s` splits it; `joules` is dynamic energy of one rank."""

    name: str
    device: str  # device | pim | link | host
    seconds: float
    joules: float
    by_bound_s: dict[str, float]
    fidelity: str


@dataclass(frozen=True)
class OperatorTotals:
    """Busy time and dynamic energy of one rank by operator, in the order of its curves; arrays of shape [operators]."""

    devices: Sequence[str]  # device | pim | link
    seconds: Float64
    joules: Float64


def operator_totals(prices: OperatorPrices, runs: Sequence[EngineResult]) -> OperatorTotals:
    """What every operator did, all replicas together."""
    seconds, joules = (sum(parts[1:], parts[0]) for parts in zip(*(_of_run(prices, run) for run in runs), strict=True))
    return OperatorTotals(prices.device_names, seconds, joules)


def _of_run(prices: OperatorPrices, result: EngineResult) -> tuple[Float64, Float64]:
    seconds, joules = np.zeros(len(prices.curves)), np.zeros(len(prices.curves))
    for rows, histogram in ((prices.by_tokens, result.steps_by_tokens), (prices.by_sequences, result.steps_by_sequences)):
        weight = grids.spread(rows.knots, histogram) * rows.repeats
        seconds[rows.at] = (rows.seconds * weight).sum(axis=1)
        joules[rows.at] = (rows.joules * weight).sum(axis=1)
    shares = _shares(prices.curves, result)
    for i, curve in enumerate(prices.curves):
        if curve.part == "attention":
            seconds[i], joules[i], _ = _attention(curve, result, shares[i])
    return seconds, joules


def breakdown(prices: OperatorPrices, result: EngineResult, host_s: float) -> list[OperatorTime]:
    """Time and energy by operator, and by bound; the last is the host. `host_s`: the engine's CPU time."""
    all_s, all_j = _of_run(prices, result)
    bounds: dict[int, dict[str, float]] = {}
    for rows, histogram in ((prices.by_tokens, result.steps_by_tokens), (prices.by_sequences, result.steps_by_sequences)):
        times = rows.seconds * (grids.spread(rows.knots, histogram) * rows.repeats)
        split = np.stack([np.where(rows.bound == bound, times, 0.0).sum(axis=1) for bound in Bound], axis=1)
        bounds |= {i: {name: float(part) for name, part in zip(_BOUND_NAMES, parts, strict=True) if part > 0}
                   for i, parts in zip(rows.at, split, strict=True)}
    shares = _shares(prices.curves, result)
    for i, curve in enumerate(prices.curves):
        if curve.part == "attention":
            seconds, _, bound = _attention(curve, result, shares[i])
            bounds[i] = {bound: seconds} if seconds else {}
    found = [OperatorTime(curve.name, prices.device_names[i], float(all_s[i]), float(all_j[i]), bounds[i],
                          curve.fidelity.name.lower()) for i, curve in enumerate(prices.curves)]
    return [*found, OperatorTime("host", "host", host_s, 0.0, {Bound.HOST.label: host_s}, "analytic")]


def _attention(curve: Curve, result: EngineResult, share: float) -> tuple[float, float, str]:
    """(seconds, joules, bound) of an attention operator that takes `share` of the time of its phase."""
    seconds, joules, bound = (_decode if curve.name.startswith("decode") else _prefill)(curve, result)
    return seconds * share, joules, bound


def _shares(curves: Sequence[Curve], result: EngineResult) -> dict[int, float]:
    """Of each attention operator in the time of its phase (the engine sums one time for each), at the mean shape of the run."""
    found: dict[int, float] = {}
    for decode in (True, False):
        members = [i for i, c in enumerate(curves) if c.part == "attention" and c.name.startswith("decode") == decode]
        if len(members) == 1:
            found[members[0]] = 1.0
            continue
        at = [curves[i].seconds[_mean_shape(curves[i], result)] * curves[i].repeats for i in members]
        total = sum(at)
        found |= {i: float(value / total) if total else 0.0 for i, value in zip(members, at, strict=True)}
    return found


def _mean_shape(curve: Curve, result: EngineResult) -> tuple[int, int]:
    """The grid's shape at or above the run's mean batch, or chunk, and context."""
    if curve.name.startswith("decode"):
        steps = max(int(result.steps_by_tokens.sum()), 1)
        knots = grids.knots_of_size(grids.batch_knots, 1024, len(curve.seconds))
        mean, context = result.decode_sequences / steps, result.decode_context_tokens / max(result.decode_sequences, 1)
    else:
        knots, chunks = grids.chunk_knots(), max(result.prefill_chunks, 1)
        mean, context = result.prefill_tokens / chunks, result.prefill_context_tokens / chunks
    return _knot(knots, mean), _knot(grids.context_knots(), context)


def _decode(curve: Curve, result: EngineResult) -> tuple[float, float, str]:
    """Time as the engine summed it; energy and bound at the mean batch and context (both are close to affine in them)."""
    if result.decode_sequences == 0:
        return 0.0, 0.0, ""
    context = result.decode_context_tokens / result.decode_sequences
    i, j = _mean_shape(curve, result)
    knots = grids.knots_of_size(grids.batch_knots, 1024, len(curve.seconds))
    joules = float(np.interp(context, grids.context_knots(), curve.joules[i])) / knots[i] * result.decode_sequences
    return result.decode_ns / 1e9, joules * curve.repeats, _BOUND_NAMES[int(curve.bound[i, j])]


def _prefill(curve: Curve, result: EngineResult) -> tuple[float, float, str]:
    """Time as the engine summed it; energy per query-key pair and bound at the mean chunk and context."""
    if result.prefill_chunks == 0 or result.prefill_pairs == 0:
        return 0.0, 0.0, ""
    i, j = _mean_shape(curve, result)
    pairs = float(causal_pairs(grids.chunk_knots()[i], grids.context_knots()[j]))
    joules = float(curve.joules[i, j]) / pairs * result.prefill_pairs
    return result.prefill_ns / 1e9, joules * curve.repeats, _BOUND_NAMES[int(curve.bound[i, j])]


def _knot(knots: Float64, value: float) -> int:
    """The first knot that is not below `value`, or the last one."""
    return min(bisect_left(knots, value), len(knots) - 1)


def add_up(parts: Sequence[list[OperatorTime]]) -> list[OperatorTime]:
    """The breakdowns of several replicas as one (sums)."""
    total = list(parts[0])
    for part in parts[1:]:
        total = [_plus(a, b) for a, b in zip(total, part, strict=True)]
    return total


def _plus(a: OperatorTime, b: OperatorTime) -> OperatorTime:
    bounds = {k: a.by_bound_s.get(k, 0.0) + b.by_bound_s.get(k, 0.0) for k in {**a.by_bound_s, **b.by_bound_s}}
    return OperatorTime(a.name, a.device, a.seconds + b.seconds, a.joules + b.joules, bounds, a.fidelity)


def by_bound(rows: list[OperatorTime]) -> dict[str, float]:
    """Seconds by bound, largest first."""
    total: dict[str, float] = {}
    for row in rows:
        for name, seconds in row.by_bound_s.items():
            total[name] = total.get(name, 0.0) + seconds
    return dict(sorted(total.items(), key=lambda item: -item[1]))
