"""Our SGLang policy against SGLang's own classes, where an unpacked wheel is at hand (LLMSIM_SGLANG)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulator.engine.reference import run
from tests.engine import sglang_itself
from tests.engine.policy_scenarios import policy_scenario
from tests.engine.test_engine import difference

SCENARIOS = range(400)


@pytest.mark.slow
def test_every_decision_is_the_engines_own():
    folder = Path(os.environ.get("LLMSIM_SGLANG", "/nonexistent"))
    if not (folder / "sglang").is_dir():
        pytest.skip("LLMSIM_SGLANG names no unpacked wheel of sglang 0.5.14")
    results = {seed: run(*policy_scenario("sglang", seed), log=True) for seed in SCENARIOS}
    compared = preempted = 0
    with sglang_itself.load(folder) as itself:
        for seed, result in results.items():
            try:
                other = run(*policy_scenario("sglang", seed), scheduler=itself, log=True)
            except sglang_itself.OutOfMemoryError:  # the engine would stop; our policy waits or retracts
                continue
            assert difference(result, other) is None, seed
            compared += 1
            preempted += bool(result.preemptions.sum())
    assert compared > 390 and preempted > 30
