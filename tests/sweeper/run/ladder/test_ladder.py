"""The climb: budget, one verdict per design, determinism, resumption without recomputing, margins that keep the front."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from sweeper.run.ladder.estimates import Estimates
from sweeper.run.ladder.ladder import Climb, Ladder, Rungs
from sweeper.run.loop import Loop, run_free, run_in_step
from sweeper.search.proposals import Proposals
from sweeper.search.samplers import build_search
from sweeper.study.front import front, points
from sweeper.study.trial import Trial
from sweeper.workers.worker import Task
from tests.sweeper.inline import InlinePool, into, machine, smooth

RUNGS = Rungs(requests=100, anchors=16)


class Climber:
    """Made-up results: the short trace is biased and a little noisy."""

    def __init__(self, space, noise=0.01):
        self.space, self.noise, self.tasks = space, noise, []
        self._full = smooth(space)

    def __call__(self, task: Task) -> Trial:
        self.tasks.append((task.number, task.requests))
        trial = self._full(task)
        if not task.requests or task.baseline:
            return trial
        rng = random.Random(self.space.key(task.parameters))
        moved = {name: 0.9 * value * rng.gauss(1, self.noise) for name, value in trial.objectives.items()}
        return replace(trial, objectives=moved, rung="short")


def sweep(space, evaluate, *, budget, deterministic, before=(), order=0, size=4, stop_after=None, seed=1):
    """The records of a sweep that goes on from the records `before`."""
    records = list(before)
    finals = {t.number: t for t in before if not t.interim}
    shorts = {t.number: t for t in before if t.interim}
    proposals = Proposals(space, seed)
    search = build_search("gp", space, seed=seed, in_flight=4, skip=proposals.skip)
    ladder = Ladder(space, RUNGS)
    sink = into(records, None if stop_after is None else len(before) + stop_after)
    climb = Climb(InlinePool(evaluate, size=size, order=order), ladder, sink)
    loop = Loop(climb, search, proposals, sink, ladder.learn)
    ladder.shorts.update(shorts)
    baselines = [Task(n, baseline=b.name) for n, b in enumerate(space.baselines)]
    if deterministic:
        end = run_in_step(loop, baselines, len(baselines), budget, {**shorts, **finals})
    else:
        waiting = [t for n, t in shorts.items() if n not in finals]
        proposals.remember(waiting)
        loop.take_over(list(finals.values()))
        full = sum(not t.rung for t in finals.values())
        numbers = itertools.count(max([*finals, *shorts, len(baselines) - 1]) + 1)
        end = run_free(loop, [b for b in baselines if b.number not in finals], numbers, budget - full, waiting)
    return end, records, ladder


@pytest.mark.parametrize("deterministic", [False, True])
def test_only_full_simulations_count_and_each_design_has_one_verdict(tmp_path, deterministic):
    space = machine(tmp_path)
    end, records, ladder = sweep(space, Climber(space), budget=120, deterministic=deterministic)
    finals = [t for t in records if not t.interim]
    assert end == "complete"
    assert len({t.number for t in finals}) == len(finals)
    assert sum(not t.rung for t in finals) == 120
    culled = [t for t in finals if t.status == "pruned"]
    assert len(culled) > 8
    assert all(t.reason.startswith("short trace: ") for t in culled)
    assert ladder.estimates.fit.shift == pytest.approx(-np.log(0.9) * np.array([1, -1, 1]), abs=0.01)


def test_the_same_trials_on_any_number_of_workers(tmp_path):
    space = machine(tmp_path)
    runs = [sweep(space, Climber(space), budget=80, deterministic=True, size=size, order=order)[1] for size, order in ((1, 0), (7, 5))]
    assert sorted(map(Trial.to_json_line, runs[0])) == sorted(map(Trial.to_json_line, runs[1]))


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("stop_after", [1, 37, 90, 150])
def test_resume_recomputes_nothing(tmp_path, deterministic, stop_after):
    space = machine(tmp_path)
    first, second = Climber(space), Climber(space)
    _, before, _ = sweep(space, first, budget=80, deterministic=deterministic, stop_after=stop_after)
    end, records, _ = sweep(space, second, budget=80, deterministic=deterministic, before=before)
    assert end == "complete"
    written = {(t.number, 100 if t.interim else 0) for t in before if t.status != "pruned"}
    assert not written & set(second.tasks)
    finals = [t for t in records if not t.interim]
    assert len({t.number for t in finals}) == len(finals)
    assert sum(not t.rung for t in finals) == 80
    if deterministic:
        whole = sweep(space, Climber(space), budget=80, deterministic=True)[1]
        assert sorted(map(Trial.to_json_line, records)) == sorted(map(Trial.to_json_line, whole))


def test_the_margin_keeps_the_measured_share_of_the_front(tmp_path):
    """Random designs, half of them anchors: of the other half's front at least nine tenths come through."""
    space = machine(tmp_path)
    for noise in (0.003, 0.03):
        climber = Climber(space, noise)
        rng = random.Random(4)
        designs = [space.sample(rng) for _ in range(400)]
        pairs = [(climber(Task(i, p, requests=100)), climber(Task(i, p))) for i, p in enumerate(designs)]
        estimates = Estimates(space, anchors=32, retention=0.95)
        for short, full in pairs[:200]:
            estimates.learn(short, full)
        held = [(s, f) for s, f in pairs[200:] if f.status == "complete"]
        best = front([f for _, f in held], space.objectives)
        others = points([f for _, f in held], space.objectives)
        kept = [s for s, f in held if f in best and estimates.may_reach(s, np.delete(others, [i for i, (_, g) in enumerate(held)
                                                                                             if g is f], axis=0))]
        assert len(kept) >= 0.9 * len(best)
        culled = [s for s, f in held if f not in best and not estimates.may_reach(s, points(best, space.objectives))]
        assert len(culled) > 0.3 * (len(held) - len(best)), "and it must be worth its cost"


def test_anchors_come_first(tmp_path):
    space = machine(tmp_path)
    estimates = Estimates(space, anchors=16, retention=0.95)
    climber = Climber(space)
    task = Task(0, space.sample(random.Random(0)))
    short, full = climber(replace(task, requests=100)), climber(task)
    for _ in range(15):
        estimates.learn(short, full)
    assert estimates.fit is None
    assert estimates.may_reach(short, np.full((1, 3), -1e9))
