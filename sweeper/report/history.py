"""The history of a study: the hypervolume and the best of each objective after every trial that moved them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sweeper.report.columns import numbers
from sweeper.space.space import Space
from sweeper.study.front import hypervolume, reference_point, signs
from sweeper.study.results import objective_column, parameter_column

MAX_STEPS = 400  # of the hypervolume that are computed; evenly chosen where the front moved more often


def history(space: Space, table: pa.Table) -> dict[str, Any]:
    """{"hypervolume": [[trial, share of the final one]], "best": {objective: [[trial, value]]}} of eligible trials.

    table: trials.parquet, by trial number. The reference point is the one of all complete designs (sweeper.study.front).
    """
    rows = eligible_rows(space, table)
    trials = table.column("trial").to_numpy()
    if not len(rows):
        return {"hypervolume": [], "best": {o.name: [] for o in space.objectives}}
    costs = np.stack([numbers(table, objective_column(o))[rows] for o in space.objectives], axis=1) * signs(space.objectives)
    last = int(trials.max())
    best: dict[str, Any] = {}
    for k, objective in enumerate(space.objectives):
        lowest = np.minimum.accumulate(costs[:, k])
        moved = np.flatnonzero(np.diff(lowest, prepend=np.inf) < 0)
        steps = [[int(trials[rows[i]]), float(lowest[i] * signs(space.objectives)[k])] for i in moved]
        best[objective.name] = [*steps, [last, steps[-1][1]]]
    return {"hypervolume": _volumes(costs, trials[rows], last), "best": best}


def eligible_rows(space: Space, table: pa.Table) -> NDArray[np.int64]:
    """Rows of complete trials inside the space, one for each design (the first); as sweeper.study.front.eligible."""
    outside = np.array([bool(name) for name in table.column("baseline").to_pylist()], dtype=bool)
    for parameter in space.parameters:
        outside &= np.asarray(table.column(parameter_column(parameter)).is_null(), dtype=bool)
    seen: set[str] = set()
    rows = []
    for i, (key, status) in enumerate(zip(table.column("design_key").to_pylist(), table.column("status").to_pylist(), strict=True)):
        if status == "complete" and not outside[i] and not (key and key in seen):
            seen.add(key)
            rows.append(i)
    return np.array(rows, dtype=np.int64)


def _volumes(costs: NDArray[np.float64], trials: NDArray[np.int64], last: int) -> list[list[float]]:
    reference = reference_point(costs)
    best = costs[:0]
    moves: list[int] = []
    for i, row in enumerate(costs):
        if len(best) and bool((best <= row).all(axis=1).any()):
            continue
        best = np.vstack([best[~(row <= best).all(axis=1)], row])
        moves.append(i)
    chosen = moves if len(moves) <= MAX_STEPS else [moves[round(k * (len(moves) - 1) / (MAX_STEPS - 1))] for k in range(MAX_STEPS)]
    volumes = [hypervolume(costs[: i + 1], reference) for i in chosen]
    final = volumes[-1]
    if final <= 0:
        return []
    return [*([int(trials[i]), volume / final] for i, volume in zip(chosen, volumes, strict=True)), [last, 1.0]]
