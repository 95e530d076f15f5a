"""The estimate of a full result from a short trace, with a margin that is measured, not assumed.

Designs that were run on both are the anchors. Objectives of one sign are compared as logarithms. The estimate of a design
is its short result moved by the anchors' median difference; its margin is as many standard deviations of the anchors'
differences as were needed for `retention` of the anchors' own front to be kept, had only the estimates been known; at
least one, since a few anchors say little about the tail (of designs level with the front one keeps five in six).
"""

from __future__ import annotations

from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray

from sweeper.space.space import Space
from sweeper.study.front import signs
from sweeper.study.trial import Trial

Float64 = NDArray[np.float64]
REFIT = 16  # anchors between two fits
MOST = 256  # latest anchors that count
LEAST_DEVIATION = 1e-9
LEAST_MARGIN = 1.0


@dataclass(frozen=True)
class Fit:
    """Costs are signed (smaller is better), logarithms where `logs`. Shapes [objectives]."""

    logs: NDArray[np.bool_]
    shift: Float64
    deviation: Float64
    margin: float  # deviations below the estimate that a design may still reach
    most_violation: float  # of the short trace, that a design feasible on the full one had


class Estimates:
    """Anchors as they come in, and what they say of a design that only has a short result."""

    def __init__(self, space: Space, anchors: int, retention: float) -> None:
        self._objectives = [o.name for o in space.objectives]
        self._signs = signs(space.objectives)
        self._anchors, self._retention = anchors, retention
        self._pairs: list[tuple[Trial, Trial]] = []
        self._fitted = 0
        self.fit: Fit | None = None

    def learn(self, short: Trial, full: Trial) -> None:
        """A design that was run on both."""
        if len(short.objectives) == len(full.objectives) == len(self._objectives):
            self._pairs.append((short, full))
            if len(self._pairs) >= max(self._anchors, self._fitted + REFIT):
                self._fitted = len(self._pairs)
                self.fit = self._fit(self._pairs[-MOST:])

    def may_reach(self, short: Trial, front: Float64) -> bool:
        """Whether the design may be feasible and beyond `front` [n, objectives] (signed costs of full trials)."""
        if self.fit is None or len(short.objectives) < len(self._objectives):
            return True
        if violation(short) > self.fit.most_violation:
            return False
        hoped = self._estimate(short) - self.fit.margin * self.fit.deviation
        known = _even(front, self.fit.logs)
        return not bool((known <= hoped).all(axis=1).any())

    def estimated(self, short: Trial) -> dict[str, float]:
        """The objectives that the full trace is expected to give; the short ones without a fit."""
        if self.fit is None or len(short.objectives) < len(self._objectives):
            return short.objectives
        costs = self._estimate(short)
        values = _uneven(costs, self.fit.logs, self._costs(short)) * self._signs
        return dict(zip(self._objectives, values.tolist(), strict=True))

    def _costs(self, trial: Trial) -> Float64:
        return np.array([trial.objectives[name] for name in self._objectives]) * self._signs

    def _estimate(self, short: Trial) -> Float64:
        assert self.fit is not None
        return np.asarray(_even(self._costs(short)[None], self.fit.logs)[0] + self.fit.shift)

    def _fit(self, pairs: list[tuple[Trial, Trial]]) -> Fit:
        short = np.array([self._costs(s) for s, _ in pairs])
        full = np.array([self._costs(f) for _, f in pairs])
        both = np.concatenate([short, full])
        logs = np.asarray((both > 0).all(axis=0) | (both < 0).all(axis=0))
        short, full = _even(short, logs), _even(full, logs)
        difference = full - short
        shift = np.median(difference, axis=0)
        deviation = np.maximum(difference.std(axis=0), LEAST_DEVIATION)
        feasible = np.array([f.status == "complete" for _, f in pairs])
        allowed = [violation(s) for (s, _), ok in zip(pairs, feasible, strict=True) if ok]
        most = max(float(np.quantile(allowed, self._retention, method="higher")), 0.0) if allowed else np.inf
        margin = _margin(short[feasible] + shift, full[feasible], deviation, self._retention)
        return Fit(logs, shift, deviation, margin, most)


def violation(trial: Trial) -> float:
    """The worst constraint's; at most 0 where all hold."""
    return max(trial.constraints.values(), default=-1.0)


def _margin(estimates: Float64, full: Float64, deviation: Float64, retention: float) -> float:
    """Deviations that let `retention` of the front of `full` through when judged by `estimates` against `full`."""
    if len(full) < 2:
        return np.inf
    needed = []
    for i in np.flatnonzero(moocore.is_nondominated(full, keep_weakly=True)):
        beyond = ((estimates[i] - full) / deviation).min(axis=1)  # by how much each design beats the estimate everywhere
        needed.append(max(float(np.delete(beyond, i).max()), 0.0))
    return max(float(np.quantile(needed, retention, method="higher")) * (1 + 1e-9), LEAST_MARGIN)


def _even(costs: Float64, logs: NDArray[np.bool_]) -> Float64:
    """Logarithms (of the size, kept in order) of the columns of one sign."""
    safe = np.where(costs == 0, 1e-300, costs)
    return np.where(logs, np.sign(safe) * np.log(np.abs(safe)), costs)


def _uneven(even: Float64, logs: NDArray[np.bool_], like: Float64) -> Float64:
    sign = np.where(like < 0, -1.0, 1.0)
    return np.where(logs, sign * np.exp(sign * even), even)
