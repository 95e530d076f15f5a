"""The history of a study: the hypervolume and the best of each objective after every trial that moved them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sweeper.report.columns import numbers
from sweeper.space.space import Space
from sweeper.study.front import Front, first_of_each, hypervolume, reference_point, signs
from sweeper.study.results import evenly, objective_column, parameter_column

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
    complete = np.asarray(pc.equal(table.column("status"), "complete"), dtype=bool)
    rows = np.flatnonzero(complete & ~outside)
    return rows[first_of_each(table.column("design_key").take(rows).to_pylist())]


def _volumes(costs: NDArray[np.float64], trials: NDArray[np.int64], last: int) -> list[list[float]]:
    reference = reference_point(costs)
    best = Front(costs.shape[1])
    moves = [i for i, row in enumerate(costs) if best.add(row, i)]
    chosen = evenly(moves, MAX_STEPS)
    volumes = [hypervolume(costs[: i + 1], reference) for i in chosen]
    final = volumes[-1]
    if final <= 0:
        return []
    return [*([int(trials[i]), volume / final] for i, volume in zip(chosen, volumes, strict=True)), [last, 1.0]]
