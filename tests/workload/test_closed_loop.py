"""A closed loop: who waits for an answer asks again when it has come; both engines, and as an open-loop trace."""

import dataclasses

import numpy as np
import pytest

from simulator.design.load import resolve
from simulator.engine import engine, reference
from simulator.engine.result import with_arrivals
from simulator.inputs.errors import InputError
from simulator.simulate import simulate
from simulator.workload.load import head, load_trace, split
from tests.engine.scenarios import outcome, random_scenario
from tests.engine.test_engine import difference

LOAD = {"prompt": {"distribution": "uniform", "low": 20, "high": 900}, "output": {"distribution": "uniform", "low": 2, "high": 60}}


def design(**workload):
    return resolve({"model": "llama-3.1-8b", "hardware": "h100-sxm", "workload": {"requests": 60, **LOAD, **workload}})


@pytest.mark.parametrize("seed", range(40))
def test_both_engines_agree_and_the_arrivals_they_came_to_give_the_same_run(seed):
    trace, config, costs = scenario = random_scenario(seed)
    clients = 1 + seed % 7
    closed = dataclasses.replace(trace, arrival_ns=np.zeros(len(trace), np.int64), concurrency=clients)
    scenario = scenario._replace(trace=closed)
    fast, plain = outcome(engine.run, scenario), outcome(reference.run, scenario)
    assert difference(fast, plain) is None
    if isinstance(fast, str):  # requests of one priority that arrive together may preempt each other for ever
        return
    served = fast.finish_ns >= 0
    opened = with_arrivals(closed, fast)
    first = np.where(served, fast.first_scheduled_ns, 0)
    assert (first >= opened.arrival_ns)[served].all()
    at = np.sort(np.concatenate([opened.arrival_ns[served], fast.finish_ns[served]]))
    assert max(((opened.arrival_ns[served] <= t) & (fast.finish_ns[served] > t)).sum() for t in at) <= clients
    # with priorities, requests that arrive together are ties; with several batches in flight, an open-loop arrival may be
    # seen before the batch it stems from is delivered
    if config.policy == "fcfs" and not config.async_scheduling and config.pipeline_parallel_size == 1:
        again = engine.run(opened, config, costs)
        assert np.array_equal(again.finish_ns, fast.finish_ns)


def test_a_closed_loop_with_prefix_caching_and_nothing_to_share_waits_for_its_clients():
    for seed in range(40):
        scenario = random_scenario(seed)
        scenario = scenario._replace(config=dataclasses.replace(scenario.config, enable_prefix_caching=True))
        closed = dataclasses.replace(scenario.trace, segments=None, prompt_ids=None, prompt_id_offsets=None, arrival_ns=np.zeros(len(scenario.trace), np.int64), concurrency=2)
        scenario = scenario._replace(trace=closed)
        assert difference(outcome(engine.run, scenario), outcome(reference.run, scenario)) is None, seed


def test_one_client_waits_for_nobody_else():
    result = simulate(design(concurrency=1))
    replica, = result.replicas
    assert np.array_equal(replica.trace.arrival_ns[1:], replica.run.finish_ns[:-1])
    assert result.metrics["queueing_mean"] < 2e-3  # the host time of a step


def test_more_clients_give_more_throughput_and_longer_answers():
    few, many = (simulate(design(concurrency=n)).metrics for n in (2, 16))
    assert many["output_throughput"] > 2 * few["output_throughput"]
    assert many["e2e_mean"] > few["e2e_mean"]


def test_clients_are_shared_out_to_replicas():
    parts = split(load_trace(design(concurrency=5).workload), 3)
    assert [part.concurrency for part in parts] == [2, 2, 1]
    assert len(split(load_trace(design(concurrency=2).workload), 3)) == 2


def test_clients_and_arrival_times_exclude_each_other():
    with pytest.raises(InputError, match="either 'concurrency' or 'arrivals'"):
        design(concurrency=4, arrivals={"process": "poisson", "rate": "2 requests/s"})


def test_the_first_requests_of_a_closed_loop_have_its_clients():
    assert head(load_trace(design(concurrency=3).workload), 4).concurrency == 3
