"""The loop of a sweep: ask, evaluate, tell. It knows a pool, a search and where finished trials go; no files, no Ray.

Two orders of telling. `run_free` tells results as they come, so no worker ever waits: fastest, but the search then
depends on timing. `run_in_step` asks a batch, evaluates it, and tells it in trial order: the same seed gives the same
trials on any number of workers, and after any interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Protocol

from simulator.inputs.errors import InputError
from sweeper.search.base import Proposal, Search
from sweeper.search.proposals import Proposals
from sweeper.study.trial import Trial
from sweeper.workers.worker import Task

BATCH = 16  # trials per step of run_in_step; fixed, because the search depends on it
POLL_SECONDS = 0.2
DRAIN_SECONDS = 1.0

End = Literal["complete", "exhausted", "stopped"]


class Evaluations(Protocol):
    """What the loop needs of a pool (`sweeper.workers.pool.Pool`)."""

    @property
    def group(self) -> int: ...

    def room(self) -> int: ...

    def submit(self, tasks: Iterable[Task]) -> None: ...

    def collect(self, timeout_s: float) -> list[Trial]: ...


@dataclass
class Loop:
    """Everything a run needs. `record` takes each new trial, first of all; `tick` says whether to stop."""

    pool: Evaluations
    search: Search
    proposals: Proposals
    record: Callable[[Trial], None]
    tick: Callable[[], bool]


def run_free(loop: Loop, baselines: Sequence[Task], numbers: Iterable[int]) -> End:
    """Evaluates `baselines`, then a proposal for every number, telling results as they come."""
    free = iter(numbers)
    waiting: dict[int, Proposal | None] = {task.number: None for task in baselines}
    loop.pool.submit(baselines)
    exhausted = False
    while True:
        if loop.tick():
            _drain(loop, waiting)
            return "stopped"
        room = loop.pool.room()
        if room > 0 and not exhausted:  # all at once, so that the pool can make calls of equal size
            asked = _ask(loop, islice(free, room))
            exhausted = asked is None
            waiting.update(asked or {})
            loop.pool.submit([Task(number, proposal.point) for number, proposal in (asked or {}).items()])
        if not waiting:
            return "exhausted" if exhausted else "complete"
        for trial in loop.pool.collect(POLL_SECONDS):
            _finish(loop, waiting, trial)


def run_in_step(loop: Loop, baselines: Sequence[Task], numbers: Sequence[int], earlier: Mapping[int, Trial]) -> End:
    """As run_free in batches of 16, told in trial order. `earlier`: results of an interrupted run, by number.

    An interrupted run is repeated proposal by proposal with its results looked up, which ends in the same state.
    Raises InputError where the proposals differ from the earlier ones (another version of the sampler).
    """
    todo = {task.number: Proposal({}) for task in baselines if task.number not in earlier}
    if not _evaluate(loop, [task for task in baselines if task.number in todo], {}):
        return "stopped"
    for start in range(0, len(numbers), BATCH):
        asked = _ask(loop, iter(numbers[start: start + BATCH]), partial=True) or {}
        results = {number: earlier[number] for number in asked if number in earlier}
        for number, trial in results.items():
            if trial.parameters != asked[number].point:
                raise InputError(f"trial {number} was another design before: this version searches differently; "
                                 "start a new study with --out")
        new = [Task(number, proposal.point) for number, proposal in asked.items() if number not in results]
        if not _evaluate(loop, new, results):
            return "stopped"
        for number, proposal in asked.items():
            loop.proposals.finished(proposal, results[number])
            loop.search.tell(proposal, results[number])
        if len(asked) < len(numbers[start: start + BATCH]):
            return "exhausted"
    return "complete"


def _ask(loop: Loop, numbers: Iterator[int], *, partial: bool = False) -> dict[int, Proposal] | None:
    """A proposal for each number; None (or, if partial, fewer) when the search has none left."""
    asked: dict[int, Proposal] = {}
    for number in numbers:
        proposal = loop.proposals.next(loop.search)
        if proposal is None:
            return asked if asked or partial else None
        asked[number] = proposal
    return asked


def _evaluate(loop: Loop, tasks: Sequence[Task], results: dict[int, Trial]) -> bool:
    """Adds the tasks' trials to `results`; False when told to stop first."""
    waiting = {task.number for task in tasks}
    loop.pool.submit(tasks)
    while waiting:
        if loop.tick():
            for trial in loop.pool.collect(DRAIN_SECONDS):
                loop.record(trial)
            return False
        for trial in loop.pool.collect(POLL_SECONDS):
            loop.record(trial)
            results[trial.number] = trial
            waiting.discard(trial.number)
    return not loop.tick()


def _finish(loop: Loop, waiting: dict[int, Proposal | None], trial: Trial) -> None:
    loop.record(trial)
    proposal = waiting.pop(trial.number)
    if proposal is not None:
        loop.proposals.finished(proposal, trial)
        loop.search.tell(proposal, trial)


def _drain(loop: Loop, waiting: dict[int, Proposal | None]) -> None:
    """What has finished already is kept."""
    for trial in loop.pool.collect(DRAIN_SECONDS):
        _finish(loop, waiting, trial)
