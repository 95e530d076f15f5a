"""Where the time and energy of a run went: by operator, by bound, by device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.costs import grids
from simulator.costs.curves import Curve
from simulator.hardware.priced import Bound
from simulator.serving.config import EngineResult

Float64 = NDArray[np.float64]

_BOUND_NAMES = [bound.name.lower() for bound in Bound]


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


def breakdown(curves: list[Curve], device_names: Sequence[str], result: EngineResult, host_s: float) -> list[OperatorTime]:
    """Time and energy by operator. `device_names[i]` says where curve i runs; `host_s` is the engine's CPU time."""
    by_tokens = [i for i, c in enumerate(curves) if c.part not in ("attention", "head")]
    by_sequences = [i for i, c in enumerate(curves) if c.part == "head"]
    rows: dict[int, OperatorTime] = {}
    for chosen, histogram in ((by_tokens, result.steps_by_tokens), (by_sequences, result.steps_by_sequences)):
        rows.update(_row_wise(curves, device_names, chosen, histogram))
    for i, curve in enumerate(curves):
        if curve.part == "attention":
            seconds, joules, bound = (_decode if curve.name.startswith("decode") else _prefill)(curve, result)
            rows[i] = OperatorTime(curve.name, device_names[i], seconds, joules, {bound: seconds} if seconds else {},
                                   curve.fidelity.name.lower())
    host = OperatorTime("host", "host", host_s, 0.0, {Bound.LAUNCH.name.lower(): host_s}, "analytic")
    return [*(rows[i] for i in range(len(curves))), host]


def _row_wise(curves: list[Curve], device_names: Sequence[str], chosen: list[int],
              histogram: NDArray[np.int64]) -> dict[int, OperatorTime]:
    """Row-wise operators, all at once: how often each knot was priced times its price (see `grids.spread`)."""
    if not chosen:
        return {}
    knots = grids.knots_of_size(grids.row_knots, 16384, len(curves[chosen[0]].seconds))
    repeats = np.array([curves[i].repeats for i in chosen], dtype=float)[:, None]
    weight = grids.spread(knots, histogram)[None, :] * repeats
    times = np.stack([curves[i].seconds for i in chosen]) * weight
    joules = (np.stack([curves[i].joules for i in chosen]) * weight).sum(axis=1)
    codes = np.stack([curves[i].bound for i in chosen])
    split = np.stack([np.where(codes == bound, times, 0.0).sum(axis=1) for bound in Bound], axis=1)
    found = {}
    for row, i in enumerate(chosen):
        by_bound = {name: float(part) for name, part in zip(_BOUND_NAMES, split[row], strict=True) if part > 0}
        found[i] = OperatorTime(curves[i].name, device_names[i], float(times[row].sum()), float(joules[row]), by_bound,
                                curves[i].fidelity.name.lower())
    return found


def _decode(curve: Curve, result: EngineResult) -> tuple[float, float, str]:
    """Time as the engine summed it; energy and bound at the mean batch and context (both are close to affine in them)."""
    if result.decode_sequences == 0:
        return 0.0, 0.0, ""
    steps = max(int(result.steps_by_tokens.sum()), 1)
    batch = result.decode_sequences / steps
    context = result.decode_context_tokens / result.decode_sequences
    knots = grids.knots_of_size(grids.batch_knots, 1024, len(curve.seconds))
    i = int(np.clip(np.searchsorted(knots, batch), 0, len(knots) - 1))
    joules = float(np.interp(context, grids.context_knots(), curve.joules[i])) / knots[i] * result.decode_sequences
    j = int(np.clip(np.searchsorted(grids.context_knots(), context), 0, curve.bound.shape[1] - 1))
    return result.decode_ns / 1e9, joules * curve.repeats, _BOUND_NAMES[int(curve.bound[i, j])]


def _prefill(curve: Curve, result: EngineResult) -> tuple[float, float, str]:
    """Time as the engine summed it; energy per query-key pair and bound at the mean chunk and context."""
    if result.prefill_chunks == 0 or result.prefill_pairs == 0:
        return 0.0, 0.0, ""
    chunk = result.prefill_tokens / result.prefill_chunks
    context = result.prefill_context_tokens / result.prefill_chunks
    chunks, contexts = grids.chunk_knots(), grids.context_knots()
    i = int(np.clip(np.searchsorted(chunks, chunk), 0, len(chunks) - 1))
    j = int(np.clip(np.searchsorted(contexts, context), 0, len(contexts) - 1))
    pairs = chunks[i] * contexts[j] + chunks[i] * (chunks[i] + 1) / 2
    joules = float(curve.joules[i, j]) / pairs * result.prefill_pairs
    return result.prefill_ns / 1e9, joules * curve.repeats, _BOUND_NAMES[int(curve.bound[i, j])]


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
