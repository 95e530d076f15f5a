"""Engines that share experts: one engine is the reference engine, two obey vLLM's rules worked out by hand."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.engine import lockstep, reference
from tests.engine.builders import affine_costs, config, trace
from tests.engine.feature_scenarios import feature_scenarios
from tests.engine.scenarios import outcome, scenarios

QUICK = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def one_stage(scenario):
    limits = dataclasses.replace(scenario.config, pipeline_parallel_size=1)
    costs = scenario.costs
    return scenario._replace(config=limits, costs=dataclasses.replace(
        costs, channels=0, stage_layers=costs.stage_layers[:1], stage_tokens_ns=costs.stage_tokens_ns[:1],
        stage_sequences_ns=costs.stage_sequences_ns[:1]))


@QUICK
@given(st.one_of(scenarios(preemptions=("recompute",)), feature_scenarios()).map(one_stage))
def test_one_engine_is_the_reference_engine(scenario):
    free = np.zeros(scenario.config.max_num_batched_tokens + 1, np.int64)
    alone = outcome(reference.run, scenario, log=True)
    group = outcome(lambda *inputs, **options: lockstep.run(*inputs, free, 1, **options), scenario, log=True)
    if isinstance(alone, str):
        assert group == alone
        return
    for name in ("first_scheduled_ns", "first_token_ns", "finish_ns", "preemptions", "cached_tokens", "steps", "checked_drafts",
                 "accepted_drafts", "draft_ns"):
        assert np.array_equal(getattr(group, name), getattr(alone, name)), name
    for field in dataclasses.fields(alone.log):
        assert np.array_equal(getattr(group.log, field.name), getattr(alone.log, field.name)), field.name


@QUICK
@given(scenarios(preemptions=("recompute",)).map(one_stage))
def test_three_engines_lose_no_request_and_no_token(scenario):
    shared = np.arange(3 * scenario.config.max_num_batched_tokens + 1, dtype=np.int64)
    result = outcome(lambda *inputs, **options: lockstep.run(*inputs, shared, 3, **options), scenario, log=True)
    if not isinstance(result, str):
        whole = dataclasses.replace(scenario.config, max_num_seqs=scenario.config.max_num_seqs * 3,
                                    max_num_batched_tokens=scenario.config.max_num_batched_tokens * 3,
                                    num_gpu_blocks=(scenario.config.num_gpu_blocks - 1) * 3 + 1)
        served = reference.limits.served_outputs(scenario.trace, scenario.config) > 0
        assert ((result.finish_ns >= 0) == served).all()
        assert (np.diff(result.log.end_ns) >= 0).all() and (result.log.n <= whole.max_num_seqs).all()
        assert (result.log.free_blocks <= whole.num_gpu_blocks - 1).all()


def test_rows_are_those_of_the_largest_captured_batch_or_of_each_alone():
    sizes = (1, 2, 4, 8, 16)
    assert lockstep.rows_of([3, 9], sizes) == [16, 16]  # both captured: padded to the larger
    assert lockstep.rows_of([0, 5], sizes) == [8, 8]  # an idle engine runs a dummy batch as wide
    assert lockstep.rows_of([6, 20], sizes) == [8, 20]  # one without a graph: none is padded to the other
    assert lockstep.rows_of([0, 20], ()) == [1, 20]


def test_the_slowest_engine_and_all_rows_together_make_a_step():
    """Two prompts of 10 and 30 tokens, one to each engine: 100 + 2 x 30 ns of its own for the longer, 5 ns a row shared."""
    costs = affine_costs(base=100, token=2)
    result = lockstep.run(trace((0, 10, 1), (0, 30, 1)), config(), costs, 5 * np.arange(513, dtype=np.int64), 2)
    assert result.finish_ns.tolist() == [160 + 5 * 40] * 2
    alone = lockstep.run(trace((0, 10, 1)), config(), costs, 5 * np.arange(513, dtype=np.int64), 2)
    assert alone.finish_ns.tolist() == [120 + 5 * 11]  # the idle engine's dummy token passes the experts too


def test_requests_go_to_the_engine_that_the_front_end_takes_for_the_least_loaded():
    """It was told of two running requests on the first. Until the next notice, 100 ms later, it counts what it sends as
    waiting, each four times a running one."""
    group = lockstep.Engines([_Part([], [1, 2]), _Part([], [])])
    chosen = []
    for arrival in (0, 1, 2, 3, 100_000_000):
        group.enqueue(_Arrival(arrival))
        chosen.append([len(part.taken) for part in group.parts])
    # scores before each: 2 and 0, 2 and 4, 6 and 4, 6 and 8; then 2 and 0 again
    assert chosen == [[0, 1], [1, 1], [1, 2], [2, 2], [2, 3]]


class _Arrival:
    def __init__(self, arrival_ns):
        self.arrival_ns = arrival_ns


class _Part:
    def __init__(self, waiting, running):
        self.waiting, self.running, self.taken = waiting, running, []

    def enqueue(self, request):
        self.taken.append(request)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_decodes_of_both_engines_advance_together(asynchronous):
    costs = affine_costs(base=100)
    requests = trace((0, 4, 3), (0, 4, 6))
    result = lockstep.run(requests, config(async_scheduling=asynchronous), costs, np.zeros(513, np.int64), 2)
    assert result.first_token_ns.tolist() == [100, 100] and result.finish_ns.tolist() == [300, 600]


