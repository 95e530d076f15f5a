"""A cluster whose nodes come and go: every trial comes back once."""

from __future__ import annotations

import time

import pytest

from simulator.pricing.cache import empty
from sweeper.study.trial import Trial
from tests.sweeper import fakes
from tests.sweeper.fakes import task

ray = pytest.importorskip("ray")

from sweeper.workers.cluster import connected  # noqa: E402
from sweeper.workers.pool import Pool  # noqa: E402

pytestmark = pytest.mark.ray


def test_a_lost_node_loses_no_trial_and_a_new_one_gets_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.cluster_utils import Cluster

    ray.cloudpickle.register_pickle_by_value(fakes)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        doomed = cluster.add_node(num_cpus=1)
        with connected(0, cluster.address):
            pool = Pool(fakes.maker(), workers=1, costs=empty(), trial_limit_s=60.0, elastic=True)
            trials: dict[int, Trial] = {}
            sent = 0
            removed = False
            deadline = time.monotonic() + 150
            while time.monotonic() < deadline:
                seen = {t.worker for t in trials.values()}
                if len(seen) < 3 and pool.room():  # until the new node's worker has had its share
                    pool.submit([task(sent + n, seconds=0.1) for n in range(8)])
                    sent += 8
                if len(seen) >= 3 and len(trials) == sent:
                    break
                for trial in pool.collect(0.2):
                    assert trial.number not in trials, "a task came back twice"
                    trials[trial.number] = trial
                if not removed and len(seen) == 2:
                    cluster.remove_node(doomed, allow_graceful=False)
                    removed = True
                    cluster.add_node(num_cpus=1)
            workers = {t.worker for t in trials.values()}
            pool.close()
        assert removed
        assert sorted(trials) == list(range(sent))
        assert {t.status for t in trials.values()} == {"complete"}
        assert len(workers) >= 3  # the head's, the lost node's and the new node's
    finally:
        cluster.shutdown()


def test_a_worker_that_dies_is_a_failed_trial_and_no_page_on_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    ray.cloudpickle.register_pickle_by_value(fakes)
    with connected(1, None):
        pool = Pool(fakes.maker(), workers=1, costs=empty(), trial_limit_s=60.0)
        pool.submit([task(0, do="kill"), task(1)])
        trials: list[Trial] = []
        deadline = time.monotonic() + 60
        while len(trials) < 2 and time.monotonic() < deadline:
            trials += pool.collect(0.2)
        time.sleep(1)  # Ray reports deaths a little later
        print("said by the driver itself")
        pool.close()
    assert {t.number: t.status for t in trials} == {0: "failed", 1: "complete"}
    assert capfd.readouterr().out == "said by the driver itself\n"
