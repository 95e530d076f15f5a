"""The fast engine against the reference engine: equal to the last bit, on recorded and on random scenarios."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from simulator.engine import engine, oracle, reference
from simulator.engine.result import EngineResult
from simulator.inputs.errors import InputError
from tests.engine.builders import affine_costs, config, oracle_folder, trace
from tests.engine.scenarios import Scenario, outcome, random_scenario, scenarios

ROOT = Path(__file__).resolve().parents[2]


def difference(one: EngineResult | str, other: EngineResult | str) -> str | None:
    """The first field in which two outcomes differ."""
    if isinstance(one, str) or isinstance(other, str):
        return None if one == other else f"{one} / {other}"
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name == "log":
            if a is not None:
                for column in dataclasses.fields(a):
                    if not np.array_equal(getattr(a, column.name), getattr(b, column.name)):
                        return f"log.{column.name}"
        elif not np.array_equal(a, b):
            return f"{field.name}: {a} / {b}"
    return None


def plain(scenario: Scenario, *, caching: bool = False) -> Scenario:
    """The scenario with the settings that the O(1) engines are for."""
    limits = dataclasses.replace(
        scenario.config,
        policy="fcfs",
        enable_prefix_caching=caching,
        enable_chunked_prefill=True,
        long_prefill_token_threshold=0,
        preemption="recompute",
        async_scheduling=scenario.config.async_scheduling and not caching,
    )
    return scenario._replace(config=limits, costs=dataclasses.replace(scenario.costs, channels=0))


def compare(seeds: range) -> None:
    """Every seed thrice: as drawn with the log, and with plain settings, without and with prefix caching."""
    for seed in seeds:
        drawn = random_scenario(seed)
        for scenario, log in ((drawn, True), (plain(drawn), False), (plain(drawn, caching=True), False)):
            both = [outcome(run, scenario, log=log, gaps=seed % 2 == 0) for run in (reference.run, engine.run)]
            assert difference(*both) is None, (seed, scenario.config, difference(*both))


def synchronous(scenario: Scenario, clients: int, channels: int) -> Scenario:
    """Plain settings, one batch in flight; requests on PIM channels, from clients that wait for their answers (0: neither)."""
    rng = np.random.default_rng(len(scenario.trace) + channels)
    trace = scenario.trace
    if clients:
        trace = dataclasses.replace(trace, arrival_ns=np.zeros(len(trace), np.int64), concurrency=clients)
    costs = dataclasses.replace(scenario.costs, channels=channels, channel_request_ns=rng.uniform(0, 50),
                                channel_token_ns=rng.uniform(0, 9))
    one = [np.asarray(getattr(costs, name)[:1]) for name in ("stage_layers", "stage_tokens_ns", "stage_sequences_ns")]
    costs = dataclasses.replace(costs, stage_layers=one[0], stage_tokens_ns=one[1], stage_sequences_ns=one[2])
    config = dataclasses.replace(scenario.config, async_scheduling=False, pipeline_parallel_size=1)
    return scenario._replace(trace=trace, config=config, costs=costs)


def compare_variants(seeds: range) -> int:
    """Closed loops and PIM channels on the O(1) engine, without and with prefix caching. Returns how many ran there."""
    fast = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        drawn = random_scenario(seed, preemptions=("recompute",))
        for clients, channels in ((0, int(rng.integers(1, 6))), (int(rng.integers(1, 12)), 0), (3, 2)):
            for caching in (False, True):
                scenario = synchronous(plain(drawn, caching=caching), clients, channels)
                both = [outcome(run, scenario, gaps=seed % 2 == 0) for run in (reference.run, engine.run)]
                assert difference(*both) is None, (seed, clients, channels, scenario.config, difference(*both))
                fast += 1
    return fast


def test_closed_loops_and_pim_channels_are_identical_on_the_engine_that_visits_no_batch(monkeypatch):
    run_general, visits = engine._run_general, []
    monkeypatch.setattr(engine, "_run_general", lambda *inputs: visits.append(1) or run_general(*inputs))
    runs = compare_variants(range(400))
    assert len(visits) < runs / 3  # with prefix caching: preemptions, and outputs that are quoted


def test_gaps_between_tokens_are_identical_with_batches_in_flight_together():
    """Asynchronous or with stages, without and with prefix caching; requests that are preempted and resumed among them."""
    resumed = 0
    for seed in range(5000, 5200):
        scenario = plain(random_scenario(seed))
        stages = scenario.config.pipeline_parallel_size
        scenario = scenario._replace(config=dataclasses.replace(scenario.config, async_scheduling=stages == 1))
        for deep in (scenario, private(scenario)):
            slow, fast = (outcome(run, deep, gaps=True) for run in (reference.run, engine.run))
            assert difference(slow, fast) is None, (seed, deep.config, difference(slow, fast))
            resumed += int(slow.preemptions.sum())
    assert resumed > 100


def test_recorded_scenarios_are_identical():
    for scenario, answer in oracle.load(oracle_folder()):
        inputs = oracle.trace_of(scenario), oracle.config_of(scenario), oracle.costs_of(scenario)
        result = engine.run(*inputs, log=True)
        assert oracle.answer_of(result) == {k: answer[k] for k in oracle.answer_of(result)}, scenario["name"]
        assert difference(engine.run(*inputs), dataclasses.replace(result, log=None)) is None, scenario["name"]


def test_a_thousand_random_scenarios_are_identical():
    compare(range(1000))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_drawn_scenarios_are_identical(scenario):
    assert difference(*(outcome(run, scenario) for run in (reference.run, engine.run))) is None


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios(preemptions=("recompute",)).map(plain))
def test_drawn_plain_scenarios_are_identical(scenario):
    assert difference(*(outcome(run, scenario) for run in (reference.run, engine.run))) is None


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios(preemptions=("recompute",)).map(lambda scenario: plain(scenario, caching=True)))
def test_drawn_scenarios_with_shared_prefixes_are_identical(scenario):
    assert difference(*(outcome(run, scenario) for run in (reference.run, engine.run))) is None


def private(scenario: Scenario) -> Scenario:
    """Plain settings with prefix caching, as drawn otherwise (asynchronous, stages), and nothing to share."""
    trace = dataclasses.replace(scenario.trace, segments=None, prompt_ids=None, prompt_id_offsets=None)
    scenario = plain(scenario)._replace(trace=trace)
    return scenario._replace(config=dataclasses.replace(scenario.config, enable_prefix_caching=True))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios(preemptions=("recompute",)).map(private))
def test_drawn_scenarios_with_caching_and_nothing_to_share_are_identical(scenario):
    assert difference(*(outcome(run, scenario) for run in (reference.run, engine.run))) is None


@pytest.mark.parametrize(
    ("flags", "seeds"),
    [({"NUMBA_BOUNDSCHECK": "1"}, range(400)), ({"NUMBA_DISABLE_JIT": "1"}, range(40))],
    ids=["bounds checked", "not compiled"],
)
def test_identical_with_numba_set_otherwise(flags, seeds, tmp_path):
    """In a process of its own: the same source with every index checked, and as plain Python."""
    code = f"from tests.engine.test_engine import compare, compare_variants as more; compare({seeds!r}); more({seeds!r}[:60])"
    environment = os.environ | flags | {"NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-W", "error::RuntimeWarning", "-c", code], cwd=ROOT, env=environment, check=True)


def test_long_decodes_are_jumped_over_exactly():
    """Contexts that cross cells of the table, blocks that run out, arrivals in the middle of a run of decodes."""
    rng = np.random.default_rng(7)
    requests = trace(*((int(i * 40_000), int(p), int(o)) for i, (p, o) in enumerate(rng.integers(1, 700, (60, 2)))))
    knots = np.array([0.0, 20.0, 100.0, 350.0, 1400.0])
    table = np.cumsum(rng.uniform(0, 90, (9, 5)), axis=1)
    for limits in (config(max_model_len=1400), config(max_model_len=1400, num_gpu_blocks=420)):
        for spread in (0.0, 0.3):
            for asynchronous in (False, True):
                costs = affine_costs(
                    base=70,
                    decode_ns=table,
                    context_knots=knots,
                    prefill_ns=np.outer([1.0, 50.0], 1 + knots),
                    decode_spread_ns=np.full(9, spread),
                )
                inputs = requests, dataclasses.replace(limits, async_scheduling=asynchronous), costs
                assert difference(reference.run(*inputs, gaps=True), engine.run(*inputs, gaps=True)) is None


def test_read_only_inputs_give_the_same_and_compile_nothing():
    requests = trace((0, 10, 5), (50, 20, 7))
    first = engine.run(requests, config(), affine_costs())
    for array in (requests.arrival_ns, requests.prompt_tokens, requests.output_tokens):
        array.flags.writeable = False
    assert difference(first, engine.run(requests, config(), affine_costs())) is None


def test_schedulers_that_are_not_compiled_are_refused_by_name():
    with pytest.raises(InputError, match=r"orca.*reference"):
        engine.run(trace((0, 1, 1)), config(scheduler="orca"), affine_costs())


def test_no_requests_is_no_work():
    result = engine.run(trace(), config(), affine_costs())
    assert (result.steps, result.makespan_ns, len(result.finish_ns)) == (0, 0, 0)
