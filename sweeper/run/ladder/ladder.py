"""The loop of a sweep with a ladder: every proposal climbs as far as it may matter, and the search is told once.

A task first tries a proof (`sweeper.workers.proof`), then simulates the head of the trace. What `Estimates` then says may
still reach the front is simulated in full. Only full simulations count as trials of the budget; the cheap ends are in the
ledger with their rung. As `sweeper.run.loop`, in two orders: `run_free` decides on results as they come, `run_in_step` in
batches with the front as it was before the batch, the same on any number of workers and after any interruption.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from simulator.inputs.errors import InputError
from sweeper.run.ladder.estimates import Estimates
from sweeper.run.loop import BATCH, DRAIN_SECONDS, POLL_SECONDS, End, Loop
from sweeper.search.base import Proposal
from sweeper.space.space import Space
from sweeper.study.front import Front, competes, points
from sweeper.study.trial import SHORT, Trial
from sweeper.workers.proof import Rival
from sweeper.workers.worker import Task

MAX_CHEAP = 50  # designs that end below the full simulation per full one, before the space counts as exhausted
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

    def task(self, number: int, proposal: Proposal, *, full: bool) -> Task:
        """What to evaluate next of a proposal."""
        if full or not self.rungs.proofs:  # a proof that failed before the short trace would most likely fail again
            return Task(number, proposal.point, requests=0 if full else self.rungs.requests)
        return Task(number, proposal.point, requests=self.rungs.requests, rivals=tuple(self._front.members[-MAX_RIVALS:]))

    def promising(self, short: Trial) -> bool:
        """Whether a short result deserves the full simulation."""
        return short.status != "failed" and self.estimates.may_reach(short, self._front.costs)

    def learn(self, trial: Trial) -> None:
        """Takes a final trial into account."""
        if trial.rung:
            return
        if trial.number in self.shorts:
            self.estimates.learn(self.shorts[trial.number], trial)
        if competes(trial):
            rival: Rival = trial.number, tuple(trial.objectives[o.name] for o in self._space.objectives)
            self._front.add(points([trial], self._space.objectives)[0], rival)

    def culled(self, short: Trial) -> Trial:
        """The final trial of a design whose short result was not promising."""
        fit = self.estimates.fit
        why = f"short trace: {short.reason}" if short.status == "infeasible" and short.reason else \
            f"short trace: behind the front by more than {fit.margin if fit else 0:.2g} deviations"
        return replace(short, status="pruned", reason=why)

    def for_search(self, trial: Trial) -> Trial | None:
        """What the search is told of a final trial: of a culled one what its full result is expected to be."""
        if trial.status != "pruned":
            return trial
        if trial.rung != SHORT or not trial.objectives:
            return None
        status = "infeasible" if any(v > 0 for v in trial.constraints.values()) else "complete"
        return replace(trial, status=status, objectives=self.estimates.estimated(trial), reason="")  # type: ignore[arg-type]


@dataclass
class _State:
    """Proposals under way, and the count of what ended how."""

    waiting: dict[int, Proposal | None] = field(default_factory=dict)
    full: int = 0  # trials of the budget
    cheap: int = 0


def run_free(loop: Loop, ladder: Ladder, baselines: Sequence[Task], budget: int, first: int,
             earlier: Iterable[Trial] = ()) -> End:
    """Evaluates `baselines`, then proposals until `budget` more trials are simulated in full.

    first: number of the first proposal. earlier: short results of an interrupted run that still wait for a verdict.
    """
    state = _State(dict.fromkeys(task.number for task in baselines))
    numbers = itertools.count(first)
    loop.pool.submit(baselines)
    exhausted = False
    for short in earlier:
        state.waiting[short.number] = Proposal(short.parameters)
        _decide(loop, ladder, state, short)
    while True:
        if loop.tick():
            for trial in loop.pool.collect(DRAIN_SECONDS):
                _take(loop, ladder, state, trial, promote=False)
            return "stopped"
        room = min(loop.pool.room(), budget - state.full - len(state.waiting))
        exhausted = exhausted or state.cheap > MAX_CHEAP * max(budget, 1)
        while room > 0 and not exhausted:
            proposals = [p for p in (loop.proposals.next(loop.search) for _ in range(min(room, loop.pool.group))) if p]
            exhausted = not proposals
            asked = dict(zip(numbers, proposals, strict=False))
            state.waiting.update(asked)
            loop.pool.submit([ladder.task(n, p, full=False) for n, p in asked.items()])
            room -= max(len(asked), 1)
        if not state.waiting:
            return "exhausted" if exhausted and state.full < budget else "complete"
        for trial in loop.pool.collect(POLL_SECONDS):
            _take(loop, ladder, state, trial)


def _take(loop: Loop, ladder: Ladder, state: _State, trial: Trial, *, promote: bool = True) -> None:
    """A trial came back: written down first, then decided on."""
    loop.record(trial)
    if not trial.interim:
        _finish(loop, ladder, state, trial)
    elif promote:
        _decide(loop, ladder, state, trial)


def _decide(loop: Loop, ladder: Ladder, state: _State, short: Trial) -> None:
    ladder.shorts[short.number] = short
    proposal = state.waiting[short.number]
    assert proposal is not None  # baselines are simulated in full
    if ladder.promising(short):
        loop.pool.submit([ladder.task(short.number, proposal, full=True)])
    else:
        culled = ladder.culled(short)
        loop.record(culled)
        _finish(loop, ladder, state, culled)


def _finish(loop: Loop, ladder: Ladder, state: _State, trial: Trial) -> None:
    proposal = state.waiting.pop(trial.number)
    state.full += not trial.rung
    state.cheap += bool(trial.rung)
    _tell(loop, ladder, proposal, trial)


def _tell(loop: Loop, ladder: Ladder, proposal: Proposal | None, trial: Trial) -> None:
    ladder.learn(trial)
    if proposal is not None:
        loop.proposals.finished(proposal, trial)
        loop.search.tell(proposal, ladder.for_search(trial))


def run_in_step(loop: Loop, ladder: Ladder, baselines: Sequence[Task], budget: int, first: int,
                earlier: Mapping[int, Trial], shorts: Mapping[int, Trial]) -> End:
    """As run_free in batches of 16, decided and told in trial order, until there are `budget` trials, the `first` (baselines
    and those of a warm start) included.

    earlier, shorts: final and short results of an interrupted run, looked up instead of evaluated. Raises InputError where
    the proposals differ from the earlier ones (another version of the sampler).
    """
    done = _evaluated(loop, [task for task in baselines if task.number not in earlier])
    if done is None:
        return "stopped"
    for task in baselines:
        ladder.learn(earlier.get(task.number) or done[task.number])
    full, cheap = first, 0
    while full < budget:
        asked: dict[int, Proposal] = {}
        for number in range(first, first + min(BATCH, budget - full)):
            proposal = loop.proposals.next(loop.search)
            if proposal is None:
                break
            asked[number] = proposal
            known = earlier.get(number) or shorts.get(number)
            if known is not None and known.parameters != proposal.point:
                raise InputError(f"trial {number} was another design before: this version searches differently; "
                                 "start a new study with --out")
        if not asked or cheap > MAX_CHEAP * budget:
            return "exhausted"
        finals = _climbed(loop, ladder, asked, earlier, shorts)
        if finals is None:
            return "stopped"
        for number, proposal in asked.items():
            _tell(loop, ladder, proposal, finals[number])
        first += len(asked)
        full += sum(not trial.rung for trial in finals.values())
        cheap += sum(bool(trial.rung) for trial in finals.values())
    return "complete"


def _climbed(loop: Loop, ladder: Ladder, asked: Mapping[int, Proposal], earlier: Mapping[int, Trial],
             shorts: Mapping[int, Trial]) -> dict[int, Trial] | None:
    """The final trials of a batch; None when told to stop."""
    known = {n: shorts.get(n) or earlier.get(n) for n in asked}
    came = _evaluated(loop, [ladder.task(n, p, full=False) for n, p in asked.items() if known[n] is None])
    if came is None:
        return None
    below = {n: known[n] or came[n] for n in asked}
    finals = {n: trial for n, trial in below.items() if trial is not None and not trial.interim}
    climbing: list[Task] = []
    for number, short in below.items():
        if short is None or not short.interim:
            continue
        ladder.shorts[number] = short
        if number in earlier:
            finals[number] = earlier[number]
        elif ladder.promising(short):
            climbing.append(ladder.task(number, asked[number], full=True))
        else:
            finals[number] = ladder.culled(short)
            loop.record(finals[number])
    full = _evaluated(loop, climbing)
    return None if full is None else {**finals, **full}


def _evaluated(loop: Loop, tasks: Sequence[Task]) -> dict[int, Trial] | None:
    """The tasks' trials, each recorded; None when told to stop first."""
    results: dict[int, Trial] = {}
    loop.pool.submit(tasks)
    while len(results) < len(tasks):
        if loop.tick():
            for trial in loop.pool.collect(DRAIN_SECONDS):
                loop.record(trial)
            return None
        for trial in loop.pool.collect(POLL_SECONDS):
            loop.record(trial)
            results[trial.number] = trial
    return None if loop.tick() else results
