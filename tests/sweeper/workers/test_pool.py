"""The pool: every task comes back once, whatever its neighbours do to the actor they share."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.pricing.cache import empty
from sweeper.study.trial import Trial
from sweeper.workers.pool_errors import PoolError
from sweeper.workers.worker import Task
from tests.sweeper import fakes
from tests.sweeper.fakes import task

ray = pytest.importorskip("ray")

from sweeper.workers.cluster import connected  # noqa: E402
from sweeper.workers.pool import Pool, boot  # noqa: E402

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.cloudpickle.register_pickle_by_value(fakes)
    with connected(2, None):
        yield


def run(pool: Pool, tasks: list[Task], limit_s: float = 120.0) -> dict[int, Trial]:
    pool.submit(tasks)
    trials: dict[int, Trial] = {}
    deadline = time.monotonic() + limit_s
    while len(trials) < len(tasks) and time.monotonic() < deadline:
        for trial in pool.collect(0.2):
            assert trial.number not in trials, "a task came back twice"
            trials[trial.number] = trial
    return trials


@pytest.fixture()
def pool(tmp_path: Path) -> Iterator[Pool]:
    pool = Pool(fakes.maker(tmp_path), workers=2, costs=empty(), trial_limit_s=3.0)
    yield pool
    pool.close()


def test_every_task_comes_back_once_and_both_actors_work(pool: Pool) -> None:
    trials = run(pool, [task(n, seconds=0.002) for n in range(100)])
    assert {n: o.metrics["y"] for n, o in trials.items()} == {n: 2.0 * n for n in range(100)}
    deadline = time.monotonic() + 60  # one actor may be ready long before the other
    workers = {o.worker for o in trials.values()}
    while len(workers) < 2 and time.monotonic() < deadline:
        workers |= {o.worker for o in run(pool, [task(n, seconds=0.002) for n in range(100)]).values()}
    assert len(workers) == 2


def test_short_trials_share_a_call_and_long_ones_do_not(pool: Pool) -> None:
    run(pool, [task(n) for n in range(200)])
    assert pool.group >= 8
    run(pool, [task(n, seconds=0.1) for n in range(30)])
    assert pool.group == 1


def test_prices_found_by_one_worker_are_hits_for_the_other(pool: Pool) -> None:
    run(pool, [task(n, key=n % 10, seconds=0.01) for n in range(40)])
    run(pool, [task(n, key=n % 10, seconds=0.01) for n in range(40)])
    counters = pool.costs.counters
    assert counters.hits + counters.misses == 80
    assert 10 <= counters.misses <= 20  # each worker at most once, before the first shared snapshot
    assert len(pool.costs.snapshot()) == 10


def test_exceptions_fail_their_own_task_with_its_reason(pool: Pool) -> None:
    trials = run(pool, [task(0, do="raise"), task(1), task(2, do="exit")])
    assert [trials[n].status for n in range(3)] == ["failed", "complete", "failed"]
    assert "ValueError: a bug" in trials[0].reason and "SystemExit" in trials[2].reason


def test_a_poison_design_fails_after_two_attempts_and_its_neighbours_survive(pool: Pool, tmp_path: Path) -> None:
    tasks = [task(n, do="kill") if n == 5 else task(n, seconds=0.001) for n in range(40)]
    trials = run(pool, tasks)
    assert trials[5].status == "failed" and "crashed" in trials[5].reason and trials[5].attempt == 2
    assert all(trials[n].status == "complete" for n in range(40) if n != 5)


def test_a_design_that_crashed_once_gets_its_second_attempt(pool: Pool) -> None:
    trials = run(pool, [task(0, do="kill once"), *(task(n) for n in range(1, 6))])
    assert [trials[n].status for n in range(6)] == ["complete"] * 6
    assert [trials[n].attempt for n in range(6)] == [2, 1, 1, 1, 1, 1]


def test_a_hanging_design_is_stopped_at_the_limit_and_its_neighbours_survive(pool: Pool) -> None:
    trials = run(pool, [task(n, do="hang") if n == 1 else task(n) for n in range(8)])
    assert trials[1].status == "failed" and trials[1].reason == "took longer than 3 s"
    assert all(trials[n].status == "complete" for n in range(8) if n != 1)


def test_actors_that_boot_before_the_pool_is_made_are_its_first_ones(tmp_path: Path) -> None:
    booted = boot(1, ["colorsys"])  # a module that nothing else imports
    pool = Pool(lambda: fakes.FakeEvaluator(tmp_path, needs="colorsys"), workers=1, costs=empty(), trial_limit_s=3.0, booted=booted)
    assert pool.workers == 1
    assert run(pool, [task(0)])[0].status == "complete"
    pool.close()


def test_workers_that_cannot_start_are_told_with_their_reason() -> None:
    def broken() -> fakes.FakeEvaluator:
        raise RuntimeError("no trace")

    pool = Pool(broken, workers=1, costs=empty(), trial_limit_s=3.0)
    with pytest.raises(PoolError, match="no trace"):
        run(pool, [task(0)])
    pool.close()
