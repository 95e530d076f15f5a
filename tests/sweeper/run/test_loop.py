"""The loop: every number once, repeats never evaluated, in step the same trials whatever happens around it."""

import itertools
from pathlib import Path

import pytest

from simulator.inputs.errors import InputError
from sweeper.run.loop import BATCH, Loop, run_free, run_in_step
from sweeper.search.auto_sampler import AUTO_SECONDS, choose
from sweeper.search.extremes import Polish
from sweeper.search.samplers import build_proposer, resumed_seed
from sweeper.space.file import load_space
from sweeper.space.sampler_names import NAMES
from sweeper.space.space import Space
from sweeper.study.trial import Trial
from sweeper.workers.worker import Task
from tests.sweeper.inline import InlinePool, into, machine, smooth
from tests.sweeper.spaces import space_of

LEARNING = ("gp", "tpe", "nsga2")


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return machine(tmp_path_factory.mktemp("space"))


class Run:
    """One run of the loop over an inline pool; `stop_after`: told to stop once that many trials are there."""

    def __init__(self, space: Space, sampler: str, *, trials: int, size: int = 4, order: int = 0, seed: int = 7,
                 earlier: tuple[Trial, ...] = (), in_step: bool = False, stop_after: int | None = None,
                 polish: bool = True) -> None:
        self.trials: list[Trial] = list(earlier)
        self.pool = InlinePool(smooth(space), size=size, order=order)
        seed = resumed_seed(seed, 0 if in_step else len(earlier))
        self.proposer = build_proposer(sampler, space, seed=seed, in_flight=size, polish=Polish(trials) if polish else None)
        loop = Loop(self.pool, self.proposer, into(self.trials, stop_after))
        baselines = [Task(n, baseline=b.name) for n, b in enumerate(space.baselines)]
        done = {trial.number: trial for trial in earlier}
        if in_step:
            self.end = run_in_step(loop, baselines, len(baselines), trials, done)
        else:
            loop.take_over(earlier)
            self.end = run_free(loop, [t for t in baselines if t.number not in done],
                                (n for n in itertools.count(len(baselines)) if n not in done), trials - len(done))
        self.by_number = {trial.number: trial for trial in self.trials}


def test_free_running_gives_every_number_once_and_no_design_twice(space: Space) -> None:
    for sampler in ("tpe", "nsga2", "random", "qmc"):
        run = Run(space, sampler, trials=60, size=8)
        assert run.end == "complete"
        assert sorted(run.pool.evaluated) == list(range(60))
        points = [space.key(t.parameters) for t in run.trials if not t.baseline]
        assert len(set(points)) == len(points) == 60 - len(space.baselines)


def test_statically_illegal_points_are_never_evaluated(space: Space) -> None:
    run = Run(space, "random", trials=80)
    assert all(t.parameters["tp"] * t.parameters["pp"] <= 8 for t in run.trials if not t.baseline)


@pytest.mark.parametrize("sampler", [name for name in NAMES if name not in ("auto", "exhaustive")])
def test_in_step_the_same_seed_gives_the_same_trials_on_any_pool(space: Space, sampler: str) -> None:
    one = Run(space, sampler, trials=60, size=1, in_step=True)
    many = Run(space, sampler, trials=60, size=9, order=5, in_step=True)
    assert one.by_number == many.by_number


@pytest.mark.parametrize(("sampler", "stop_after"), list(itertools.product(LEARNING, (1, 3, 10, 60, 70))))
def test_in_step_an_interruption_changes_nothing(space: Space, sampler: str, stop_after: int) -> None:
    whole = Run(space, sampler, trials=75, in_step=True)
    part = Run(space, sampler, trials=75, order=1, in_step=True, stop_after=stop_after)
    assert part.end == "stopped" and stop_after <= len(part.trials) < 75
    rest = Run(space, sampler, trials=75, order=2, in_step=True, earlier=tuple(part.trials))
    assert rest.end == "complete"
    assert rest.by_number == whole.by_number
    assert not set(rest.pool.evaluated) & set(part.pool.evaluated)


def test_a_free_run_resumes_with_the_missing_numbers_and_new_designs(space: Space) -> None:
    part = Run(space, "tpe", trials=50, size=8, stop_after=23)
    rest = Run(space, "tpe", trials=50, size=8, earlier=tuple(part.trials))
    assert sorted(part.pool.evaluated + rest.pool.evaluated) == list(range(50))
    points = [space.key(t.parameters) for t in rest.trials if not t.baseline]
    assert len(set(points)) == len(points)


def test_another_search_than_the_interrupted_one_is_told(space: Space) -> None:
    part = Run(space, "random", trials=3 + 2 * BATCH, in_step=True, stop_after=20)
    with pytest.raises(InputError, match="searches differently"):
        Run(space, "qmc", trials=3 + 2 * BATCH, in_step=True, earlier=tuple(part.trials))


def test_gp_is_for_discrete_spaces(tmp_path: Path) -> None:
    continuous = space_of(tmp_path, "  hardware.npu.clock: {float: {low: 0.5 GHz, high: 1 GHz}}")
    assert choose(continuous, trials=10, seconds_per_trial=None).sampler == "tpe"
    with pytest.raises(InputError, match="gp needs discrete parameters"):
        build_proposer("gp", continuous, seed=0, in_flight=4)


def test_a_small_space_ends_when_every_design_was_evaluated() -> None:
    quick = load_space("quick")
    size = quick.size()
    assert size is not None

    def evaluate(task: Task) -> Trial:
        return Trial(task.number, dict(task.parameters), "failed", reason="not asked here")

    for sampler in ("random", "tpe", "gp"):
        trials: list[Trial] = []
        proposer = build_proposer(sampler, quick, seed=0, in_flight=4)
        end = run_free(Loop(InlinePool(evaluate), proposer, into(trials)), [], itertools.count(), 10_000)
        assert end == "exhausted"
        assert {quick.key(t.parameters) for t in trials} == {quick.key(p) for p in quick.enumerate()}
        assert len(trials) == size


def test_auto_enumerates_what_the_budget_or_half_a_minute_covers_and_searches_the_rest(space: Space) -> None:
    quick = load_space("quick")
    size = space.size()
    assert quick.size() == 24 and size is not None
    assert choose(quick, trials=24, seconds_per_trial=None).sampler == "exhaustive"
    assert choose(quick, trials=23, seconds_per_trial=None).sampler == "gp"
    assert choose(quick, trials=23, seconds_per_trial=1.0).sampler == "exhaustive"
    assert choose(space, trials=200, seconds_per_trial=0.9 * AUTO_SECONDS / size).sampler == "exhaustive"
    assert choose(space, trials=200, seconds_per_trial=1.1 * AUTO_SECONDS / size).sampler == "gp"
