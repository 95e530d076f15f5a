"""The ladder: every proposal climbs as far as it may matter, and the search learns from it once.

A task first tries a proof (`sweeper.workers.proof`), then simulates the head of the trace. What `Estimates` then says may
still reach the front is simulated in full. Only full simulations count as trials of the budget; the cheap ends are in the
ledger with their rung. `Climb` decides on what it knows then, and `Ladder.learn` is called just before the search learns: in
the free loop as results come, in step after each batch, the same on any number of workers and after any interruption.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sweeper.run.ladder.estimates import Estimates
from sweeper.run.loop import Sink, Workers
from sweeper.space.space import Space
from sweeper.study.front import Front, competes, points
from sweeper.study.trial import SHORT, Trial
from sweeper.workers.proof import Rival
from sweeper.workers.worker import Task

MAX_RIVALS = 64  # sent along with a task


@dataclass(frozen=True)
class Rungs:
    """What the ladder is made of; kept in the ledger so that resume does the same.

    requests: of the short trace, 0 for none. anchors: designs run on both before any is culled. retention: share of the
    anchors' front that the margin must keep. proofs: whether bounds are used.
    """

    requests: int
    anchors: int = 32
    retention: float = 0.95
    proofs: bool = True


class Ladder:
    """What is known while a sweep climbs: the front, the anchors, the short results that wait for a verdict."""

    def __init__(self, space: Space, rungs: Rungs) -> None:
        self._space, self.rungs = space, rungs
        self.estimates = Estimates(space, rungs.anchors, rungs.retention)
        self.shorts: dict[int, Trial] = {}
        self._front = Front(len(space.objectives))  # members: rivals

    def lowest(self, task: Task) -> Task:
        """The task on the lowest rung: proofs, then the short trace."""
        rivals = tuple(self._front.members[-MAX_RIVALS:]) if self.rungs.proofs else None
        return replace(task, requests=self.rungs.requests, rivals=rivals)

    def promising(self, short: Trial) -> bool:
        """Whether a short result deserves the full simulation."""
        return short.status != "failed" and self.estimates.may_reach(short, self._front.costs)

    def learn(self, trial: Trial) -> Trial | None:
        """Takes a final trial into account; returns what the search should learn from it."""
        if not trial.rung and trial.number in self.shorts:
            self.estimates.learn(self.shorts[trial.number], trial)
        if competes(trial):
            rival: Rival = trial.number, tuple(trial.objectives[o.name] for o in self._space.objectives)
            self._front.add(points([trial], self._space.objectives)[0], rival)
        return self.for_search(trial)

    def culled(self, short: Trial) -> Trial:
        """The final trial of a design whose short result was not promising."""
        fit = self.estimates.fit
        why = f"short trace: {short.reason}" if short.status == "infeasible" and short.reason else \
            f"short trace: behind the front by more than {fit.margin if fit else 0:.2g} deviations"
        return replace(short, status="pruned", reason=why)

    def for_search(self, trial: Trial) -> Trial | None:
        """What the search should learn from a final trial: from a culled one, what its full result is expected to be."""
        if trial.status != "pruned":
            return trial
        if trial.rung != SHORT or not trial.objectives:
            return None
        status = "infeasible" if any(v > 0 for v in trial.constraints.values()) else "complete"
        return replace(trial, status=status, objectives=self.estimates.estimated(trial), reason="")  # type: ignore[arg-type]


class Climb:
    """Workers that send every design up the ladder as far as it may matter; only final trials come back.

    Results of short traces go to `sink` before anything is decided on them.
    """

    def __init__(self, workers: Workers, ladder: Ladder, sink: Sink) -> None:
        self._workers, self._ladder, self._sink = workers, ladder, sink
        self._culled: list[Trial] = []

    def room(self) -> int:
        return self._workers.room()

    def submit(self, tasks: Iterable[Task]) -> None:
        """Baselines are simulated in full; designs with a short result from an interrupted run get their verdict."""
        first: list[Task] = []
        for task in tasks:
            if task.number in self._ladder.shorts:
                self._decide(self._ladder.shorts[task.number])
            else:
                first.append(task if task.baseline else self._ladder.lowest(task))
        self._workers.submit(first)

    def collect(self, timeout_s: float) -> list[Trial]:
        trials = self._workers.collect(0.0 if self._culled else timeout_s)
        shorts = [trial for trial in trials if trial.interim]
        self._sink(shorts)
        for short in shorts:
            self._ladder.shorts[short.number] = short
            self._decide(short)
        culled, self._culled = self._culled, []
        return [*(trial for trial in trials if not trial.interim), *culled]

    def _decide(self, short: Trial) -> None:
        if self._ladder.promising(short):
            self._workers.submit([Task(short.number, short.parameters)])
        else:
            self._culled.append(self._ladder.culled(short))
