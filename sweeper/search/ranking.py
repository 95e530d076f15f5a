"""The ranks of trials, and how much each is worth in hypervolume; costs, smaller is better."""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import NDArray

from sweeper.study.front import reference_point

Float64 = NDArray[np.float64]


def best_first(costs: Float64, wanted: int) -> NDArray[np.int64]:
    """Rows of `costs` [n, objectives], the best `wanted` first.

    By non-domination rank; in the rank that does not fit whole, those that add most hypervolume.
    """
    if len(costs) < 2 or wanted >= len(costs):
        return np.arange(len(costs))
    if costs.shape[1] == 1:
        return np.argsort(costs[:, 0], kind="stable")
    ranks = moocore.pareto_rank(costs)
    order = np.argsort(ranks, kind="stable")
    last = ranks[order[wanted - 1]]
    members = np.flatnonzero(ranks == last)
    kept = members[_most_hypervolume(costs[members], wanted - int((ranks < last).sum()))]
    best = np.concatenate([np.flatnonzero(ranks < last), kept])
    return np.concatenate([best, order[~np.isin(order, best)]])


def _most_hypervolume(costs: Float64, wanted: int) -> NDArray[np.int64]:
    """Rows to keep when those that add least hypervolume are dropped, in a few rounds; of equal rows all but one first."""
    first = np.sort(np.unique(costs, axis=0, return_index=True)[1])
    copies = np.setdiff1d(np.arange(len(costs)), first)
    if len(first) <= wanted:
        return np.concatenate([first, copies[: wanted - len(first)]])
    reference = reference_point(costs)
    kept = first
    excess = len(first) - wanted
    while len(kept) > wanted:
        added = moocore.hv_contributions(costs[kept], ref=reference)
        drop = min(len(kept) - wanted, max(1, excess // 8))
        kept = kept[np.sort(np.argsort(added, kind="stable")[drop:])]
    return kept


def hypervolume_shares(costs: Float64) -> Float64:
    """What each row adds to the hypervolume of all, as shares of one; equal rows share, all do where none adds any."""
    rows, which, copies = np.unique(costs, axis=0, return_inverse=True, return_counts=True)
    added = np.asarray(moocore.hv_contributions(rows, ref=reference_point(costs)))
    total = added.sum()
    return (added / total / copies)[which.ravel()] if total > 0 else np.full(len(costs), 1.0 / len(costs))
