"""SGLang's and TensorRT-LLM's policies on random scenarios: nothing is lost, no limit is broken, nobody waits for ever."""

from __future__ import annotations

from collections import Counter

import pytest

from simulator.engine import engine, reference
from tests.engine.policy_scenarios import WATCHED, check, features, policy_scenario
from tests.engine.test_engine import difference

EVERY_KIND = {
    "sglang": ("overlap", "chunks", "whole prompts", "preempted", "cached", "cached and preempted", "cached, preempted, overlap",
               "closed loop", "channels", "pages", "rejected", "mixed chunk", "lpm", "dfs-weight", "lof"),
    "tensorrt_llm": ("overlap", "chunks", "whole prompts", "preempted", "cached", "cached and preempted",
                     "cached, preempted, overlap", "closed loop", "channels", "pages", "rejected", "max utilization", "held back",
                     "equal progress"),
}


def _met(scheduler: str, seeds: range) -> Counter[str]:
    """Runs every seed and checks it; how many scenarios met each feature."""
    met: Counter[str] = Counter()
    for seed in seeds:
        scenario = policy_scenario(scheduler, seed)
        result = reference.run(*scenario, scheduler=WATCHED[scheduler], log=True)
        check(scenario, result)
        met.update(features(scenario, result))
    return met


@pytest.mark.parametrize("scheduler", WATCHED)
def test_every_request_is_served_once_within_the_limits(scheduler):
    _met(scheduler, range(60))


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", WATCHED)
def test_a_thousand_random_scenarios_meet_every_feature(scheduler):
    met = _met(scheduler, range(1000))
    for feature in EVERY_KIND[scheduler]:
        assert met[feature] >= 10, (feature, met)


@pytest.mark.slow
def test_tensorrt_llm_is_the_same_on_the_kernel():
    preempted = 0
    for seed in range(1000):
        scenario, log, gaps = policy_scenario("tensorrt_llm", seed), seed % 3 == 0, seed % 2 == 0
        both = [run(*scenario, log=log, gaps=gaps) for run in (reference.run, engine.run)]
        assert difference(*both) is None, (seed, scenario.config, difference(*both))
        preempted += int(both[0].preemptions.sum())
    assert preempted >= 500


@pytest.mark.parametrize("scheduler", WATCHED)
def test_the_front_door_serves_what_the_kernel_does_not_know_and_the_same_every_time(scheduler):
    scenario = policy_scenario(scheduler, 7)
    assert difference(engine.run(*scenario, log=True, gaps=True), reference.run(*scenario, log=True, gaps=True)) is None
