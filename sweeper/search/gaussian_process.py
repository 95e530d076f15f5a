"""Model-based search for small budgets: Gaussian processes of objectives and constraints over a discrete space.

Each round fits the processes once, breeds candidates around the feasible front (every change of one setting, random
changes of a few, random points), and picks a batch: the candidates whose optimistic prediction would add most
hypervolume, times the probability of being feasible, each pick counted as if it had come true (Jones et al. 1998;
Emmerich et al. 2006; "kriging believer" of Ginsbourger et al. 2010). A fit serves BATCH proposals.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

import moocore
import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.codes import ABSENT, Coder, Codes, Conditions, Float64, Params
from sweeper.search.gaussian import Gaussian, fit, length_scales, normal_cdf
from sweeper.search.relative import Distributions, History, RelativeSampler, Skip, direction_signs, violation

BATCH = 8
STARTUP = 16  # random points before the first fit
MAX_ROWS = 300  # that a process is fitted to
SCALE_ROWS = 128  # that length scales are fitted to
BRED, RANDOM = 800, 100  # candidates a round
PARENTS = 64
SHORTLIST = 8  # candidates whose hypervolume is computed, per pick
OPTIMISM = (0.0, 0.5, 1.0, 2.0)  # standard deviations, in turns
WORST_VIOLATION = 3.0  # a constraint missed by more than 300 % teaches no more than that


class GaussianProcessSampler(RelativeSampler):
    """The sampler called `gp`, for discrete parameters and any number of objectives; see `RelativeSampler` for the arguments.

    A trial's constraints are those of `trial.set_constraint`.
    """

    discrete = True

    def __init__(self, *, seed: int | None = None, search_space: Mapping[str, BaseDistribution] | None = None,
                 skip: Skip | None = None, conditions: Conditions | None = None) -> None:
        super().__init__(seed=seed, search_space=search_space, skip=skip, conditions=conditions)
        self._rng = np.random.default_rng(seed)
        self._coder = Coder({})

    def reseed_rng(self) -> None:
        super().reseed_rng()
        self._rng = np.random.default_rng()

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Distributions) -> Params:
        """The next of a batch, which is made when the last one is used up."""
        if not search_space:
            return {}
        if search_space != self._coder.distributions:
            self._begin(study, search_space)
        while True:
            if not self._queue:
                self._learn(study)
                self._queue.extend(self._batch())
            params = self._coder.decode(self._queue.popleft())
            if not self._queue or not self._skip(params):
                return params

    def _begin(self, study: Study, search_space: Distributions) -> None:
        """Forgets everything: the parameters are others than before."""
        self._coder = Coder(search_space, self._conditions)
        self._signs = direction_signs(study)
        self._history = History()
        self._rows: list[Codes] = []
        self._costs: list[Float64] = []  # [objectives], smaller is better, NaN where unknown
        self._violations: list[float] = []  # the worst constraint's
        self._seen: set[bytes] = set()  # proposed, known or refused
        self._queue: deque[Codes] = deque()
        self._scales = np.ones(len(search_space))
        self._refit_at = STARTUP

    def _learn(self, study: Study) -> None:
        for trial in self._history.new(study):
            if not self._coder.distributions.keys() <= trial.params.keys():
                continue
            row = self._coder.encode(trial.params)
            self._seen.add(row.tobytes())
            if trial.state != TrialState.FAIL:
                values = trial.values if trial.state == TrialState.COMPLETE else [math.nan] * len(self._signs)
                self._rows.append(row)
                self._costs.append(np.array(values) * self._signs)
                self._violations.append(min(violation(trial), WORST_VIOLATION))

    def _batch(self) -> list[Codes]:
        """The next proposals, new and legal; random ones where there is nothing to learn from."""
        costs = _even(np.array(self._costs).reshape(len(self._rows), len(self._signs)))
        known: NDArray[np.bool_] = np.asarray(np.isfinite(costs).all(axis=1))
        if known.sum() < STARTUP:
            return self._legal(self._coder.random(self._rng, 4 * BATCH), BATCH)
        rows, violations = np.array(self._rows), np.array(self._violations)
        feasible = known & (violations <= 0)
        front = costs[feasible]
        best = rows[feasible]
        if len(front):
            on_front = moocore.is_nondominated(front)
            front, best = front[on_front], best[on_front]
        else:  # work towards the feasible region first
            best = rows[np.argsort(violations, kind="stable")[:8]]
        candidates = self._candidates(best)
        if not len(candidates):
            return self._legal(self._coder.random(self._rng, 64 * BATCH), BATCH)
        means, deviations, chance = self._predict(rows, costs, violations, known, candidates)
        return self._pick(candidates, means, deviations, chance, front, costs[feasible])

    def _predict(self, rows: Codes, costs: Float64, violations: Float64, known: NDArray[np.bool_],
                 candidates: Codes) -> tuple[Float64, Float64, Float64]:
        """Mean and deviation of the costs, and the probability of being feasible."""
        features = self._coder.features(rows)
        use = self._chosen_rows(costs, known & (violations <= 0), known)
        outputs = np.column_stack([costs[use], violations[use]])
        if len(use) >= self._refit_at:
            few = use if len(use) <= SCALE_ROWS else self._rng.choice(use, SCALE_ROWS, replace=False)
            self._scales = length_scales(features[few], np.column_stack([costs[few], violations[few]]),
                                         self._coder.owners, self._scales, 2 if self._refit_at == STARTUP else 1)
            self._refit_at = math.ceil(1.6 * len(use))
        model: Gaussian = fit(features[use], outputs, self._scales[self._coder.owners])
        mean, deviation = model.predict(self._coder.features(candidates))
        if not (violations > 0).any():
            return mean[:, :-1], deviation[:, :-1], np.ones(len(candidates))
        return mean[:, :-1], deviation[:, :-1], normal_cdf(-mean[:, -1] / deviation[:, -1])

    def _chosen_rows(self, costs: Float64, feasible: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Which trials the process is fitted to: all of them, or the best by rank and a random share of the rest."""
        everything = np.flatnonzero(known)
        if len(everything) <= MAX_ROWS:
            return everything
        good = np.flatnonzero(feasible)
        if len(good) > MAX_ROWS // 2:
            good = good[np.argsort(moocore.pareto_rank(costs[good]), kind="stable")[: MAX_ROWS // 2]]
        rest = np.setdiff1d(everything, good)
        return np.sort(np.concatenate([good, self._rng.choice(rest, MAX_ROWS - len(good), replace=False)]))

    def _candidates(self, best: Codes) -> Codes:
        """Neighbours of the best rows and random rows, canonical, none seen before."""
        if len(best) > PARENTS:
            best = best[self._rng.choice(len(best), PARENTS, replace=False)]
        counts, width = self._coder.counts, best.shape[1]
        full = np.where(best == ABSENT, self._rng.integers(0, counts, best.shape), best)
        bred = full[self._rng.integers(0, len(full), BRED)]
        change = self._rng.random(bred.shape) < 0.7 / width  # one setting, and now and then another
        change[np.arange(BRED), self._rng.integers(0, width, BRED)] = True
        near = np.clip(bred + self._rng.integers(0, 2, bred.shape) * 2 - 1, 0, counts - 1)
        far = self._rng.integers(0, counts, bred.shape)
        bred = np.where(change, np.where(self._rng.random(bred.shape) < 0.5, near, far), bred)
        rows = np.vstack([self._coder.canonical(bred), self._coder.random(self._rng, RANDOM)])
        raw, size = rows.tobytes(), rows.itemsize * width
        last = {raw[i * size: (i + 1) * size]: i for i in range(len(rows))}  # of equal rows
        return rows[sorted(map(last.__getitem__, set(last) - self._seen))]

    def _pick(self, candidates: Codes, means: Float64, deviations: Float64, chance: Float64, front: Float64,
              feasible: Float64) -> list[Codes]:
        """Greedily the candidates that promise most, each then part of the front as predicted."""
        chosen: list[Codes] = []
        if not len(front):
            order = np.argsort(-chance, kind="stable")
            return self._legal(candidates[order], BATCH)
        low, high = feasible.min(axis=0), np.quantile(feasible, 0.9, axis=0)
        span = np.maximum(np.maximum(high, front.max(axis=0)) - low, 1e-9)
        reference = np.ones(len(low)) * 1.05
        front = (front - low) / span
        alive = np.ones(len(candidates), dtype=bool)
        hopes: dict[int, tuple[Float64, Float64]] = {}  # by optimism: hoped costs, and their improvement on `front`
        for turn in range(4 * BATCH):
            if len(chosen) == BATCH:
                break
            level = turn % len(OPTIMISM)
            if level not in hopes:
                hoped = (means - OPTIMISM[level] * deviations - low) / span
                hopes[level] = hoped, _improvement(hoped, front)
            best = self._promising(*hopes[level], chance, front, reference, alive)
            if best is None:
                best = int(self._rng.choice(np.flatnonzero(alive)))
            alive[best] = False
            row = candidates[best]
            self._seen.add(row.tobytes())
            if not self._skip(self._coder.decode(row)):
                chosen.append(row)
                member = (means[best: best + 1] - low) / span
                front = np.vstack([front, member])
                hopes = {level: (hoped, np.minimum(gain, _improvement(hoped, member))) for level, (hoped, gain) in hopes.items()}
        return chosen or self._legal(self._coder.random(self._rng, 64 * BATCH), BATCH)

    @staticmethod
    def _promising(hoped: Float64, improvement: Float64, chance: Float64, front: Float64, reference: Float64,
                   alive: NDArray[np.bool_]) -> int | None:
        """The candidate that adds most expected hypervolume, among those with the largest maximin improvement."""
        merit = np.where(alive & (hoped < reference).all(axis=1), improvement * chance, -np.inf)
        promising = np.flatnonzero(merit > 0)
        shortlist = promising[np.argsort(-merit[promising], kind="stable")[:SHORTLIST]]
        if not len(shortlist):
            return None
        volume = moocore.Hypervolume(ref=reference)
        base = volume(front)
        grown = np.vstack([front, front[:1]])
        gains = []
        for i in shortlist.tolist():
            grown[-1] = hoped[i]
            gains.append((volume(grown) - base) * chance[i])
        return int(shortlist[int(np.argmax(gains))])

    def _legal(self, rows: Codes, wanted: int) -> list[Codes]:
        found: list[Codes] = []
        for row in rows:
            if len(found) == wanted:
                break
            if row.tobytes() not in self._seen and not self._skip(self._coder.decode(row)):
                found.append(row)
                self._seen.add(row.tobytes())
        return found or [rows[0]]


def _improvement(hoped: Float64, front: Float64) -> Float64:
    """By how much every candidate betters the member of `front` that it betters least, in its best objective."""
    margin = front[None, :, 0] - hoped[:, 0, None]
    for column in range(1, hoped.shape[1]):
        np.maximum(margin, front[None, :, column] - hoped[:, column, None], out=margin)
    return np.asarray(margin.min(axis=1))


def _even(costs: Float64) -> Float64:
    """Columns of one sign as logarithms, so that a factor counts the same everywhere; others as they are."""
    result = costs.copy()
    for column in range(costs.shape[1]):
        values = costs[:, column]
        finite = values[np.isfinite(values)]
        if len(finite) and (finite > 0).all():
            result[:, column] = np.log(values)
        elif len(finite) and (finite < 0).all():
            result[:, column] = -np.log(-values)
    return result
