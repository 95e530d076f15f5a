"""What must hold on any scenario with KV groups and speculation, judged from the log and from the scheduler's tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from simulator.engine.reference import run
from simulator.scheduler import limits
from simulator.scheduler.scheduler import Scheduler
from simulator.scheduler.speculation import reserved
from tests.engine.feature_scenarios import SPECULATION_ONLY, feature_scenarios, random_feature_scenario
from tests.engine.scenarios import outcome
from tests.engine.test_reference import watched

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def check(scenario, result):
    """Tokens, blocks and budgets add up."""
    trace, config, _ = scenario
    log, drafting = result.log, reserved(config.speculation).drafting
    outputs = limits.served_outputs(trace, config)
    assert ((result.finish_ns >= 0) == (outputs > 0)).all()
    assert (np.bincount(log.batch_request, log.batch_outputs, len(trace)) == outputs).all()
    assert (log.batch_outputs <= 1 + log.batch_drafts).all() and (log.batch_drafts < log.batch_new_tokens).all()
    assert (log.tokens + drafting * log.n <= config.max_num_batched_tokens).all() and (log.running <= config.max_num_seqs).all()
    used = config.num_gpu_blocks - 1 - log.free_blocks
    held = log.held.sum(axis=1)  # a shared block counts for each of its users
    assert (held >= used).all() if config.enable_prefix_caching else (held == used).all()
    assert result.checked_drafts == log.batch_drafts.sum()
    assert result.accepted_drafts == np.maximum(log.batch_outputs - 1, 0).sum() <= result.checked_drafts
    assert result.decode_sequences + result.prefill_tokens + result.checked_drafts == log.tokens.sum()

    # from admission to admission a request is computed on where it was, less rejected drafts
    entered = {(step, request): hit for step, request, hit in log.admissions.tolist()}
    at: dict[int, int] = {}
    rows = zip(np.repeat(np.arange(len(log.n)), log.n).tolist(), log.batch_request.tolist(), log.batch_computed.tolist(),
               log.batch_new_tokens.tolist(), strict=True)
    for step, request, computed, new in rows:
        if (step, request) in entered:
            assert computed == entered[step, request]
        else:
            assert at[request] - config.draft_tokens <= computed <= at[request]
        at[request] = computed + new
        assert at[request] <= config.max_model_len


class Emptied(watched(Scheduler)):  # type: ignore[misc]
    """Checks its tables after every action and remembers what it was."""

    last: Emptied

    def __init__(self, *args):
        super().__init__(*args)
        Emptied.last = self


@pytest.mark.slow
@QUICK
@given(feature_scenarios())
def test_no_block_leaks_and_tokens_are_conserved(scenario):
    result = outcome(run, scenario, scheduler=Emptied, log=True)
    if not isinstance(result, str):
        check(scenario, result)
        assert Emptied.last.pool.free == scenario.config.num_gpu_blocks - 1


def test_random_scenarios_are_served_and_meet_every_feature():
    met = dict.fromkeys(("preempted", "cached", "accepted", "rejected", "async", "stages", "state", "window", "chunk", "padded"), 0)
    for seed in range(250):
        scenario = random_feature_scenario(seed, most=20)
        result = outcome(run, scenario, log=True)
        if isinstance(result, str):
            continue
        check(scenario, result)
        config = scenario.config
        kinds = {group.kind for group in config.kv_groups}
        padded = {(step, request) for step, request, hit in result.log.admissions.tolist()} if config.speculation else set()
        steps = np.repeat(np.arange(len(result.log.n)), result.log.n).tolist()
        found = {
            "preempted": result.preemptions.sum() > 0, "cached": result.cached_tokens.sum() > 0,
            "accepted": result.accepted_drafts > 0, "rejected": result.accepted_drafts < result.checked_drafts,
            "async": config.async_scheduling, "stages": config.pipeline_parallel_size > 1,
            "state": "state" in kinds, "window": "window" in kinds, "chunk": "chunk" in kinds,
            "padded": any(drafts and place in padded for drafts, place in zip(
                result.log.batch_drafts.tolist(), zip(steps, result.log.batch_request.tolist(), strict=True), strict=True)),
        }
        for name, holds in found.items():
            met[name] += bool(holds)
    assert all(count >= 8 for count in met.values()), met


def test_without_a_feature_the_log_and_the_result_are_as_before():
    """One full group that is said and one that is not are the same run; so are drafts that are never accepted and none."""
    for seed in range(40):
        scenario = random_feature_scenario(seed, (SPECULATION_ONLY,), most=12)
        plain = scenario._replace(config=scenario.config.__class__(**{
            **{f: getattr(scenario.config, f) for f in scenario.config.__dataclass_fields__}, "speculation": None}))
        said = plain._replace(config=plain.config.__class__(**{
            **{f: getattr(plain.config, f) for f in plain.config.__dataclass_fields__}, "kv_groups": plain.config.groups}))
        one, other = outcome(run, plain, log=True), outcome(run, said, log=True)
        if isinstance(one, str):
            assert one == other
            continue
        assert (one.finish_ns == other.finish_ns).all() and one.log.held is None and other.log.held is not None
        assert (one.log.batch_new_tokens == other.log.batch_new_tokens).all() and one.checked_drafts == 0
