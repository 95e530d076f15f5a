"""The loop of a sweep: ask, evaluate, tell. It knows workers, a search and where finished trials go; no files, no Ray.

Two orders of telling. `run_free` tells results as they come, so no worker ever waits: fastest, but the search then
depends on timing. `run_in_step` asks a batch, evaluates it, and tells it in trial order: the same seed gives the same
trials on any number of workers, and after any interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from simulator.inputs.errors import InputError
from sweeper.search.proposer import Proposal, Proposer
from sweeper.study.rows import Rows
from sweeper.study.trial import Trial
from sweeper.workers.worker import Task

BATCH = 16  # trials per step of run_in_step; fixed, because the search depends on it
MAX_CHEAP = 50  # designs that end below the full simulation per full one, before the space counts as exhausted
POLL_SECONDS = 0.2
DRAIN_SECONDS = 1.0

End = Literal["complete", "exhausted", "stopped"]


class Workers(Protocol):
    """What evaluates tasks (`sweeper.workers.pool.Pool`, `sweeper.run.proofs.Proving`)."""

    def room(self) -> int:
        """How many more tasks keep every worker busy."""
        ...

    def submit(self, tasks: Iterable[Task]) -> None:
        """Queues tasks; each comes back from `collect` exactly once."""
        ...

    def collect(self, timeout_s: float) -> list[Trial]:
        """What has finished, after at most `timeout_s`."""
        ...


class Sink(Protocol):
    """Where a loop hands over what has finished, before anything else learns of it; several times a second also nothing."""

    def __call__(self, trials: Sequence[Trial], rows: Sequence[Rows] = ()) -> bool:
        """Takes the trials; returns whether the sweep should stop."""
        ...


@dataclass
class Loop:
    """Everything a run needs. learn: called with each trial before the search learns from it."""

    workers: Workers
    proposer: Proposer
    sink: Sink
    learn: Callable[[Trial], None] = lambda _: None

    def take_over(self, trials: Sequence[Trial]) -> None:
        """Learns from trials of an earlier run, whose designs are not proposed again."""
        for trial in trials:
            self.learn(trial)
        self.proposer.take_over(trials)

    def ask(self, numbers: Iterable[int]) -> dict[int, Proposal]:
        """A proposal for each number; fewer where the search has none left."""
        asked: dict[int, Proposal] = {}
        for number in numbers:
            proposal = self.proposer.next()
            if proposal is None:
                break
            asked[number] = proposal
        return asked

    def tell(self, proposal: Proposal | None, trial: Trial) -> None:
        """Passes a trial on to whoever learns from it. proposal: None for a baseline."""
        self.learn(trial)
        if proposal is not None:
            self.proposer.finished(proposal, trial)


def run_free(loop: Loop, baselines: Sequence[Task], numbers: Iterator[int], budget: int) -> End:
    """Evaluates `baselines`, then proposals until `budget` more trials are simulated in full.

    numbers: of the proposals, endless.
    """
    under_way: dict[int, Proposal | None] = {task.number: None for task in baselines}
    loop.workers.submit(baselines)
    full = cheap = 0
    exhausted = stop = False
    while True:
        room = min(loop.workers.room(), budget - full - len(under_way))
        exhausted = exhausted or cheap > MAX_CHEAP * max(budget, 1)
        if room > 0 and not exhausted and not stop:  # all at once, so that the workers can make calls of equal size
            asked = loop.ask(next(numbers) for _ in range(room))
            exhausted = not asked
            under_way.update(asked)
            loop.workers.submit(_tasks(asked))
        if not under_way:
            return "stopped" if stop else "exhausted" if exhausted and full < budget else "complete"
        trials = loop.workers.collect(DRAIN_SECONDS if stop else POLL_SECONDS)
        stopping, stop = stop, loop.sink(trials)
        for trial in trials:
            loop.tell(under_way.pop(trial.number), trial)
            full += not trial.rung
            cheap += bool(trial.rung)
        if stopping:
            return "stopped"


def run_in_step(loop: Loop, baselines: Sequence[Task], first: int, budget: int, known: Mapping[int, Trial]) -> End:
    """As run_free in batches of 16, which the search learns from in trial order, until there are `budget` trials, the `first`
    (baselines and those of a warm start) included.

    known: results of an interrupted run, by number. It is repeated proposal by proposal with its results looked up, which
    ends in the same state. Raises InputError where the proposals differ from the earlier ones
    (another version of the sampler).
    """
    if _evaluated(loop, [task for task in baselines if task.number not in known]) is None:
        return "stopped"
    full, cheap = first, 0
    while full < budget:
        wanted = min(BATCH, budget - full)
        asked = loop.ask(range(first, first + wanted))
        for number, proposal in asked.items():
            if number in known and known[number].parameters != proposal.point:
                raise InputError(f"trial {number} was another design before: this version searches differently; "
                                 "start a new study with --out")
        results = {number: known[number] for number in asked if number in known}
        new = _evaluated(loop, _tasks({number: p for number, p in asked.items() if number not in results}))
        if new is None:
            return "stopped"
        results |= new
        for number, proposal in asked.items():
            loop.tell(proposal, results[number])
            full += not results[number].rung
            cheap += bool(results[number].rung)
        if len(asked) < wanted or cheap > MAX_CHEAP * budget:
            return "exhausted"
        first += len(asked)
    return "complete"


def _tasks(asked: Mapping[int, Proposal]) -> list[Task]:
    return [Task(number, proposal.point) for number, proposal in asked.items()]


def _evaluated(loop: Loop, tasks: Sequence[Task]) -> dict[int, Trial] | None:
    """The tasks' trials by number; None when it had to stop first: what has finished then is in the sink."""
    results: dict[int, Trial] = {}
    loop.workers.submit(tasks)
    stop = loop.sink([])
    while len(results) < len(tasks) and not stop:
        trials = loop.workers.collect(POLL_SECONDS)
        stop = loop.sink(trials)
        results |= {trial.number: trial for trial in trials}
    if not stop:
        return results
    if len(results) < len(tasks):
        loop.sink(loop.workers.collect(DRAIN_SECONDS))
    return None
