"""Exhaustive sweeps: every legal point once, whatever happens on the way."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from simulator.design.load import validate
from simulator.design_key import design_key
from simulator.inputs.errors import InputError
from sweeper.run.exhaustive import Ranges, run_spans
from sweeper.space.enumeration import Enumeration
from sweeper.space.file import load_space
from sweeper.space.legality import broken_rule
from sweeper.space.space import Space
from sweeper.study.front import front
from sweeper.study.rows import Rows, rows_of
from sweeper.study.tally import Tally
from sweeper.study.trial import Trial
from sweeper.workers.spans import Span
from sweeper.workers.worker import Task
from tests.sweeper.inline import into, machine, smooth
from tests.sweeper.spaces import space_of


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return machine(tmp_path_factory.mktemp("machine"))


class InlineSpans:
    """A pool without Ray: spans come back in an order of its own, those that hold a point of `poison` broken."""

    def __init__(self, space: Space, *, size: int, order: int = 0, poison: Sequence[int] = ()) -> None:
        self.span_size = size
        self._space, self._evaluate = space, smooth(space)
        self._points = Enumeration(space)
        self._random = random.Random(order)
        self._poison = set(poison)
        self._spans: list[Span] = []
        self._tasks: list[Task] = []
        self._taken: tuple[list[Rows], list[Span]] = ([], [])
        self.evaluated: list[int] = []

    def span_room(self) -> int:
        return 4 - len(self._spans)

    def submit(self, tasks: Sequence[Task], *, alone: bool = False) -> None:
        self._tasks.extend(tasks)

    def submit_span(self, span: Span) -> None:
        self._spans.append(span)

    def collect(self, timeout_s: float) -> list[Trial]:
        if self._spans:
            self._finish(self._spans.pop(self._random.randrange(len(self._spans))))
        tasks, self._tasks = self._tasks, []
        return [task.failed("crashed") if task.number in self._poison else self._evaluate(task) for task in tasks]

    def _finish(self, span: Span) -> None:
        indices = list(span.indices())
        if self._poison & {span.offset + i for i in indices}:
            self._taken[1].append(span)
            return
        rules = {i: broken_rule(self._space, self._points.at(i)) for i in indices}
        trials = [self._evaluate(Task(span.offset + i, self._points.at(i))) for i in indices if rules[i] is None]
        self.evaluated += [t.number for t in trials]
        names = [o.name for o in self._space.objectives]
        self._taken[0].append(rows_of(trials, names, Counter(r for r in rules.values() if r), 0.1))

    def take_rows(self) -> tuple[list[Rows], list[Span]]:
        taken, self._taken = self._taken, ([], [])
        return taken


class Run:
    """A sweep over the inline pool: the trials in the order of finishing, and how it ended."""

    def __init__(self, space: Space, *, trials: int, size: int = 100, order: int = 0, earlier: Sequence[Trial] = (),
                 stop_after: int | None = None, poison: Sequence[int] = ()) -> None:
        self.trials = list(earlier)
        self.tally = Tally(space)
        points = Enumeration(space)
        done = np.zeros(len(points), dtype=bool)
        done[[t.number - 2 for t in earlier if not t.baseline]] = True
        known = {t.baseline for t in earlier}
        baselines = [Task(n, baseline=b.name) for n, b in enumerate(space.baselines) if b.name not in known]
        self.pool = InlineSpans(space, size=size, order=order, poison=poison)
        take = into(self.trials, stop_after)

        def sink(trials: Sequence[Trial], rows: Sequence[Rows] = ()) -> bool:
            for found in rows:
                self.tally.add_rows(found)
            return take(trials, rows)

        self.end = run_spans(self.pool, space, Ranges(done, 2, trials - len(earlier)), sink, baselines)

    @property
    def results(self) -> dict[int, tuple[object, ...]]:
        return {t.number: (t.parameters, t.status, t.objectives, t.constraints) for t in self.trials}


@pytest.mark.parametrize("name", ["quick", "gpu_cluster"])
def test_the_enumeration_has_every_point_once(name: str) -> None:
    space = load_space(name)
    points = Enumeration(space)
    assert len(points) == space.size()
    assert sorted(space.key(points.at(i)) for i in range(len(points))) == sorted(map(space.key, space.enumerate()))


def test_conditional_parameters_are_enumerated_where_they_exist(space: Space) -> None:
    points = Enumeration(space)
    assert len(points) == space.size()
    seen = [points.at(i) for i in range(len(points))]
    assert len({space.key(p) for p in seen}) == len(seen)
    assert all(("pim_stacks_per_npu" in p) == (p["pim"] != "none") for p in seen)
    assert all(space.canonical(p) == p for p in seen[:: 500])


def test_a_continuum_cannot_be_enumerated(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be enumerated"):
        Enumeration(space_of(tmp_path, "  hardware.npu.clock: {float: {low: 0.5 GHz, high: 1 GHz}}"))


@pytest.mark.slow
def test_every_legal_point_is_evaluated_once_and_the_illegal_ones_are_counted(space: Space) -> None:
    run = Run(space, trials=10**9, size=997)
    legal = [p for p in space.enumerate() if p["tp"] * p["pp"] <= 8]
    assert run.end == "exhausted"
    assert sorted(space.key(t.parameters) for t in run.trials if not t.baseline) == sorted(map(space.key, legal))
    assert run.tally.rejected == {"one_node": (space.size() or 0) - len(legal)}
    assert len(run.tally.front) == len(front(run.trials, space.objectives))


@pytest.mark.parametrize(("size", "order"), [(7, 1), (400, 2)])
def test_a_budget_takes_the_first_legal_points_in_any_order_of_finishing(space: Space, size: int, order: int) -> None:
    run = Run(space, trials=1000, size=size, order=order)
    assert run.end == "complete"
    assert run.results == Run(space, trials=1000).results
    assert len(run.results) == len(run.trials) == 1000


def test_stopped_and_resumed_no_trial_is_missing_or_made_twice(space: Space) -> None:
    whole = Run(space, trials=3000)
    part = Run(space, trials=3000, order=3, stop_after=800)
    assert part.end == "stopped" and 800 <= len(part.trials) < 3000
    rest = Run(space, trials=3000, size=64, order=4, earlier=part.trials)
    assert rest.end == "complete"
    assert len(rest.trials) == 3000 and rest.results == whole.results
    assert not set(rest.pool.evaluated) & {t.number for t in part.trials}


def test_a_span_that_kills_its_worker_costs_only_the_guilty_point(space: Space) -> None:
    whole = Run(space, trials=2000)
    poison = whole.trials[500].number
    run = Run(space, trials=2000, poison=[poison])
    assert {n for n, r in run.results.items() if r != whole.results[n]} == {poison}
    assert run.results[poison][1] == "failed"
    assert len(run.trials) == 2000


def test_designs_built_section_by_section_are_the_validated_ones() -> None:
    space = load_space("npu_pim")
    rng = random.Random(3)
    for _ in range(50):
        point = space.sample(rng)
        design, key = space.keyed_design(point)
        assert design == space.design_with(space.overrides(point)) == validate(design.to_plain())
        assert key == design_key(design)
