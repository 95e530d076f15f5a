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

from scripts import scheduler_oracle as oracle
from simulator.engine import engine, reference
from simulator.engine.replica import Replica, is_dense
from simulator.engine.result import EngineResult
from simulator.inputs.errors import InputError
from tests.engine.builders import affine_costs, config, oracle_folder, trace
from tests.engine.feature_scenarios import random_feature_scenario
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


def compare(seeds: range) -> dict[str, int]:
    """Every seed as drawn; counts the features that were met, combined as they come."""
    met: dict[str, int] = {}
    for seed in seeds:
        drawn = scenario_of(seed)
        log, gaps = seed % 3 == 0, seed % 2 == 0
        both = [outcome(run, drawn, log=log, gaps=gaps) for run in (reference.run, engine.run)]
        assert difference(*both) is None, (seed, drawn.config, difference(*both))
        for feature in features(drawn, both[0]):
            met[feature] = met.get(feature, 0) + 1
    return met


def scenario_of(seed: int) -> Scenario:
    """The scenario of a seed; every fourth is a closed loop, every fifth has no block that recurs."""
    drawn = random_scenario(seed)
    trace = drawn.trace
    if seed % 4 == 0:
        clients = int(np.random.default_rng(seed).integers(1, 12))
        trace = dataclasses.replace(trace, arrival_ns=np.zeros(len(trace), np.int64), concurrency=clients)
    if seed % 5 == 0:
        trace = dataclasses.replace(trace, segments=None, prompt_ids=None, prompt_id_offsets=None)
    return drawn._replace(trace=trace)


def features(scenario: Scenario, result: EngineResult | str) -> list[str]:
    """What a scenario exercises."""
    config, trace = scenario.config, scenario.trace
    preempted = isinstance(result, str) or result.preemptions.sum() > 0
    found = {
        "livelock": isinstance(result, str),
        "asynchronous": config.async_scheduling, "stages": config.pipeline_parallel_size > 1,
        "priority": config.policy == "priority", "whole prompts": not config.enable_chunked_prefill,
        "capped chunks": config.long_prefill_token_threshold > 0, "closed loop": trace.concurrency > 0,
        "channels": scenario.costs.channels > 0, "beside": scenario.costs.beside_knots is not None,
        "preempted": preempted, "swapped": preempted and config.preemption == "swap",
        "cached": config.enable_prefix_caching and not isinstance(result, str) and result.cached_tokens.sum() > 0,
        "cached and preempted": config.enable_prefix_caching and preempted,
        "cached, preempted, in flight together": config.enable_prefix_caching and preempted and (
            config.async_scheduling or config.pipeline_parallel_size > 1),
    }
    return [name for name, holds in found.items() if holds]


def test_recorded_scenarios_are_identical():
    for scenario, answer in oracle.load(oracle_folder()):
        inputs = oracle.trace_of(scenario), oracle.config_of(scenario), oracle.costs_of(scenario)
        result = engine.run(*inputs, log=True)
        assert oracle.answer_of(result) == {k: answer[k] for k in oracle.answer_of(result)}, scenario["name"]
        assert difference(engine.run(*inputs), dataclasses.replace(result, log=None)) is None, scenario["name"]


@pytest.mark.slow
def test_random_scenarios_are_identical_and_meet_every_feature():
    met = compare(range(1500))
    rare = {"livelock": 1, "closed loop": 300, "cached, preempted, in flight together": 100}
    for feature in ("asynchronous", "stages", "priority", "whole prompts", "capped chunks", "channels", "beside", "preempted",
                    "swapped", "cached", "cached and preempted", *rare):
        assert met.get(feature, 0) >= rare.get(feature, 150), (feature, met)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_drawn_scenarios_are_identical(scenario):
    assert difference(*(outcome(run, scenario) for run in (reference.run, engine.run))) is None


@pytest.mark.slow
def test_scenarios_with_kv_groups_and_speculation_are_identical_on_the_kernels_that_serve_them():
    met = {"lockstep": 0, "dense": 0, "preempted": 0, "checked": 0}
    for seed in range(1_000):
        drawn = random_feature_scenario(seed)
        log, gaps = seed % 3 == 0, seed % 2 == 0
        both = [outcome_or_deadlock(run, drawn, log=log, gaps=gaps) for run in (reference.run, engine.run)]
        assert difference(*both) is None, (seed, drawn.config, difference(*both))
        met["dense" if is_dense(drawn.config) else "lockstep"] += 1
        if isinstance(both[0], EngineResult):
            met["preempted"] += bool(both[0].preemptions.any())
            met["checked"] += both[0].checked_drafts > 0
    assert min(met.values()) >= 50, met


@pytest.mark.slow
def test_a_part_of_a_trace_draws_what_the_whole_one_does():
    drawn = next(random_feature_scenario(seed) for seed in range(100) if random_feature_scenario(seed).config.speculation)
    numbers = np.arange(len(drawn.trace)) * 3 + 7
    part = drawn._replace(trace=dataclasses.replace(drawn.trace, number=numbers))
    both = [outcome_or_deadlock(run, part, log=True) for run in (reference.run, engine.run)]
    assert difference(*both) is None


def outcome_or_deadlock(run, scenario: Scenario, **options) -> EngineResult | str:
    """What an engine makes of a scenario, or that it leaves requests waiting for ever or lets them preempt each other."""
    try:
        return run(*scenario, **options)
    except RuntimeError as error:
        return "livelock" if "livelock" in str(error) else "deadlock"


def test_the_dense_kernel_also_serves_what_goes_in_lockstep():
    for seed in range(300):
        drawn = scenario_of(seed)
        if drawn.config.enable_prefix_caching:  # its blocks need room that only the front door of the dense kernel plans for
            continue
        requests, _ = engine.requests_of(drawn.trace, drawn.config)
        results = []
        for dense in (False, True):
            replica = Replica(drawn.config, drawn.costs, clients=drawn.trace.concurrency or None, gaps=True, dense=dense)
            replica.extend(requests)
            try:
                replica.advance()
            except RuntimeError:
                assert drawn.config.policy == "priority", seed
            results.append(replica.result())
        assert difference(*results) is None, (seed, drawn.config)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "seeds"),
    [({"NUMBA_BOUNDSCHECK": "1"}, range(600)), ({"NUMBA_DISABLE_JIT": "1"}, range(25))],
    ids=["bounds checked", "not compiled"],
)
def test_identical_with_numba_set_otherwise(flags, seeds, tmp_path):
    """In a process of its own: the same source with every index checked, and as plain Python. Compiled code cannot raise: what a
    check finds, numba prints."""
    code = f"from tests.engine.test_engine import compare; compare({seeds!r})"
    environment = os.environ | flags | {"NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-W", "error::RuntimeWarning", "-c", code], cwd=ROOT, env=environment, check=False,
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "out of bounds" not in run.stderr
    assert "Error" not in run.stderr, run.stderr


def replica_of(scenario: Scenario, **options) -> Replica:
    """A replica that has been given all of a scenario's requests."""
    trace, config, costs = scenario
    requests, _ = engine.requests_of(trace, config)
    replica = Replica(config, costs, clients=trace.concurrency or None, nodes=engine.leading_nodes(requests, config), **options)
    replica.extend(requests)
    return replica


@pytest.mark.slow
def test_a_run_stopped_at_every_event_and_restored_is_the_same_run():
    """Stops before every decision, goes on from a copy of the state, in a replica that has served something else meanwhile."""
    stopped = 0
    for seed in range(60):
        scenario = scenario_of(seed)
        whole, stepped, other = (replica_of(scenario, gaps=True) for _ in range(3))
        try:
            whole.advance()
        except RuntimeError:
            continue
        while not stepped.advance(int(stepped.run.clock) + 1):
            stopped += 1
            copied = stepped.snapshot()
            other.restore(copied)
            other.advance()
            assert difference(whole.result(), other.result()) is None, (seed, stopped)
            stepped.restore(copied)
        assert difference(whole.result(), stepped.result()) is None, seed
    assert stopped > 1000


def test_long_decodes_are_jumped_over_exactly():
    """Contexts that cross cells of the table, blocks that run out, arrivals in the middle of a run of decodes."""
    rng = np.random.default_rng(7)
    requests = trace(*((int(i * 40_000), int(p), int(o)) for i, (p, o) in enumerate(rng.integers(1, 700, (60, 2)))))
    knots = np.array([0.0, 20.0, 100.0, 350.0, 1400.0])
    table = np.cumsum(rng.uniform(0, 90, (9, 5)), axis=1)
    for bounds in (config(max_model_len=1400), config(max_model_len=1400, num_gpu_blocks=420)):
        for spread in (0.0, 0.3):
            for asynchronous in (False, True):
                costs = affine_costs(
                    base=70,
                    decode_ns=table,
                    context_knots=knots,
                    prefill_ns=np.outer([1.0, 50.0], 1 + knots),
                    decode_spread_ns=np.full(9, spread),
                )
                inputs = requests, dataclasses.replace(bounds, async_scheduling=asynchronous), costs
                assert difference(reference.run(*inputs, gaps=True), engine.run(*inputs, gaps=True)) is None


def test_read_only_inputs_give_the_same_and_compile_nothing():
    requests = trace((0, 10, 5), (50, 20, 7))
    first = engine.run(requests, config(), affine_costs())
    for array in (requests.arrival_ns, requests.prompt_tokens, requests.output_tokens):
        array.flags.writeable = False
    assert difference(first, engine.run(requests, config(), affine_costs())) is None


def test_schedulers_that_are_not_compiled_run_on_the_reference_engine_and_have_no_replica():
    orca = trace((0, 10, 3), (50, 20, 2)), config(scheduler="orca"), affine_costs()
    assert difference(engine.run(*orca, log=True), reference.run(*orca, log=True)) is None
    with pytest.raises(InputError, match=r"orca.*reference"):
        Replica(*orca[1:])


def test_no_requests_is_no_work():
    result = engine.run(trace(), config(), affine_costs())
    assert (result.steps, result.makespan_ns, len(result.finish_ns)) == (0, 0, 0)
