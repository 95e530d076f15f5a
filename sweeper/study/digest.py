"""The digest of a ledger of any length, made in one pass: the front, the best, the counts. Memory stays bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweeper.space.space import Space
from sweeper.study import ledger
from sweeper.study.front import best_trial, front
from sweeper.study.replication import Replicated
from sweeper.study.trial import Status, Trial

BATCH = 4096  # trials between two sortings out of the front


@dataclass(frozen=True)
class Digest:
    """What a study found. `trials()` goes through all of them, by number."""

    path: Path  # of the ledger
    count: int
    statuses: Counter[Status]
    cached: int
    reasons: Counter[str]  # why trials are not complete, without the amounts
    failures: Counter[str]  # the same of those that failed
    metrics: frozenset[str]  # those that some trial has
    violations: tuple[str, ...]  # constraints that some trial has
    front: list[Trial]  # by first objective, best first
    kept: list[Trial]  # the front, the best of each objective and the baselines, by number
    offsets: NDArray[np.int64]  # of the trials' lines, by number
    half_widths: frozenset[str] = frozenset()  # metrics that some trial has a confidence interval of
    ties: Mapping[int, list[int]] = field(default_factory=dict)  # trial -> trials of the front that it ties with
    near: list[Trial] = field(default_factory=list)  # behind the front, but within its noise (`sweeper.study.ties`); by number

    def trials(self) -> Iterator[Trial]:
        """Every trial, by number."""
        return ledger.at_offsets(self.path, self.offsets.tolist())


def digest(space: Space, path: Path) -> Digest:
    """Reads the ledger at `path`. Raises InputError where it is damaged."""
    gathered = _Gathered(space)
    numbers: list[int] = []
    offsets: list[int] = []
    replicated = Replicated(space)
    for offset, trial in ledger.stream(path, [objective.name for objective in space.objectives]):
        numbers.append(trial.number)
        offsets.append(offset)
        gathered.add(trial)
        replicated.add(trial, offset)
    gathered.sort_out()
    ties, near = replicated.ties(path, gathered.front)
    order = np.argsort(np.array(numbers, dtype=np.int64), kind="stable")
    kept = {t.number: t for t in (*gathered.front, *gathered.best.values(), *gathered.baselines)}
    known = [c.name for c in space.constraints if c.name in gathered.violations]
    return Digest(
        path, len(numbers), gathered.statuses, gathered.cached, gathered.reasons, gathered.failures, frozenset(gathered.metrics),
        (*known, *sorted(gathered.violations - set(known))), gathered.front, [kept[n] for n in sorted(kept)],
        np.array(offsets, dtype=np.int64)[order], frozenset(replicated.half_widths), ties, near)


class _Gathered:
    """What one pass has seen so far."""

    def __init__(self, space: Space) -> None:
        self._objectives = space.objectives
        self.statuses: Counter[Status] = Counter()
        self.cached = 0
        self.reasons: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.metrics: set[str] = set()
        self.violations: set[str] = set()
        self.front: list[Trial] = []
        self.best: dict[str, Trial] = {}
        self.baselines: list[Trial] = []
        self._batch: list[Trial] = []

    def add(self, trial: Trial) -> None:
        self.statuses[trial.status] += 1
        self.cached += trial.cached
        self.metrics.update(trial.metrics)
        self.violations.update(trial.constraints)
        if trial.baseline:
            self.baselines.append(trial)
        if trial.status != "complete":
            self.reasons[_kind(trial)] += 1
            if trial.status == "failed":
                self.failures[_kind(trial)] += 1
            return
        self._batch.append(trial)
        if len(self._batch) == BATCH:
            self.sort_out()

    def sort_out(self) -> None:
        """Keeps of the latest trials what is on the front or the best of an objective."""
        for objective in self._objectives:
            held = self.best.get(objective.name)
            best = best_trial([*self._batch, *([held] if held else [])], objective)
            if best is not None:
                self.best[objective.name] = best
        self.front = front([*self.front, *self._batch], self._objectives)
        self._batch = []


def _kind(trial: Trial) -> str:
    """The reason without what is one design's own."""
    if trial.status == "pruned":
        return "pruned by bounds"
    return trial.reason.split(":")[0] if trial.status == "infeasible" else trial.reason
