"""The ladder: a proof before every simulation, that the design misses a constraint or is beaten by a simulated one.

Only simulations count as trials of the budget; what a proof ended is in the ledger with the rung `bound`, and the search
learns nothing of it. `Proving.learn` is called just before the search learns: in the free loop as results come, in step
after each batch, so it knows the same on any number of workers and after any interruption.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

from simulator.inputs.errors import InputError
from sweeper.run.loop import Workers
from sweeper.space.space import Space
from sweeper.study.front import Front, competes, points
from sweeper.study.trial import Trial
from sweeper.workers.proof import Rival
from sweeper.workers.worker import Task

MAX_RIVALS = 64  # sent along with a task
LEAST_REQUESTS = 50_000  # a trace below costs milliseconds, which is what a proof costs, too
LEAST_SECONDS = 0.1  # of a simulation: at 51 ms and less proofs broke even at best (docs/search.md)
PROBES = 4  # designs that are measured


class Proving:
    """Workers that try a proof before they simulate a design. Baselines are simulated."""

    def __init__(self, workers: Workers, space: Space) -> None:
        self._workers, self._space = workers, space
        self._front = Front(len(space.objectives))  # members: rivals
        self.room, self.collect = workers.room, workers.collect

    def submit(self, tasks: Iterable[Task]) -> None:
        """Queues the tasks, each with the designs that may prove it dominated."""
        rivals = tuple(self._front.members[-MAX_RIVALS:])
        self._workers.submit([task if task.baseline else replace(task, rivals=rivals) for task in tasks])

    def learn(self, trial: Trial) -> None:
        """Takes a final trial into account."""
        if competes(trial):
            rival: Rival = trial.number, tuple(trial.objectives[o.name] for o in self._space.objectives)
            self._front.add(points([trial], self._space.objectives)[0], rival)


def wanted(space: Space, said: str, sampler: str) -> tuple[bool, str]:
    """Whether a sweep tries proofs, and a line for the user where `auto` decided for it.

    Raises InputError for proofs in an exhaustive sweep, which wants every design's own result.
    """
    if sampler == "exhaustive" and said == "on":
        raise InputError("an exhaustive sweep simulates every design; use another sampler, or no ladder", key="study.ladder")
    if said != "auto" or sampler == "exhaustive":
        return said == "on", ""
    from sweeper.workers.evaluator import load_traces, plugged

    if max(len(trace) for trace in load_traces(space).values()) < LEAST_REQUESTS or space.capacity is not None or plugged(space):
        return False, ""
    seconds = _measured(space)
    if seconds < LEAST_SECONDS:
        return False, ""
    return True, f"ladder: bounds before a simulation ({1e3 * seconds:.0f} ms)"


def _measured(space: Space) -> float:
    """Seconds of a simulation, the least over a few random designs that can serve; 0 without any."""
    from sweeper.workers.evaluator import warm_evaluator
    from sweeper.workers.worker import run_task

    evaluator, rng = warm_evaluator(space), random.Random(0)
    trials = (run_task(evaluator, Task(0, space.sample(rng))) for _ in range(5 * PROBES))
    return min((trial.seconds for trial in trials if trial.metrics), default=0.0)
