"""The reference engine against vLLM's recorded decisions, hand-computed schedules and invariants."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from scripts import scheduler_oracle as oracle
from simulator.engine.reference import run
from simulator.inputs.errors import InputError
from simulator.scheduler import limits
from simulator.scheduler.block_tables import NULL, slots
from simulator.scheduler.policies.registry import SCHEDULERS
from simulator.scheduler.scheduler import Scheduler
from tests.engine import invariants
from tests.engine.builders import affine_costs, config, oracle_folder, trace
from tests.engine.scenarios import Scenario, outcome, scenarios

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
def test_every_recorded_vllm_scenario_is_reproduced():
    for scenario, answer in oracle.load(oracle_folder()):
        result = run(oracle.trace_of(scenario), oracle.config_of(scenario), oracle.costs_of(scenario), log=True)
        assert oracle.first_difference(answer, oracle.answer_of(result)) is None, scenario["name"]


def watched(base: type[Scheduler]) -> type[Scheduler]:
    """A scheduler that checks its block pool after every action."""
    class Watched(base):  # type: ignore[valid-type, misc]
        def schedule(self):
            batch = super().schedule()
            self.check_blocks()
            return batch

        def deliver(self, batch):
            receivers = super().deliver(batch)
            self.check_blocks()
            return receivers

        def check_blocks(self):
            held = Counter(block for request in self.running for table in request.tables for block in table.held())
            assert held == Counter({block: users for block, users in enumerate(self.pool.users) if users})
            free = [*self.pool.blank, *self.pool.idle]
            assert len(free) == len(set(free)) == len(self.pool.users) - len(held) and not held.keys() & set(free)
            assert not any(request.tables for request in self.waiting)
            for request in self.running:
                for group, table in zip(self.config.groups, request.tables, strict=True):
                    assert len(table.blocks) >= slots(group, request.computed, self.config)
                    assert set(table.blocks[:table.freed]) <= {NULL}
            assert sum(self.channel_tokens) == sum(request.known for request in self.running)
    return Watched


@pytest.mark.slow
@QUICK
@given(scenarios(schedulers=tuple(SCHEDULERS)))
def test_no_block_leaks_no_request_is_lost_time_is_monotone_and_tokens_are_conserved(scenario: Scenario):
    result = outcome(run, scenario, scheduler=watched(SCHEDULERS[scenario.config.scheduler]), log=True)
    if not isinstance(result, str):
        invariants.check(scenario.trace, scenario.config, result)


@QUICK
@given(scenarios())
def test_same_input_gives_the_same_result_with_and_without_a_log(scenario: Scenario):
    logged, plain = outcome(run, scenario, log=True), outcome(run, scenario)
    if isinstance(plain, str):
        assert plain == logged
        return
    for field in dataclasses.fields(plain):
        if field.name != "log":
            assert np.array_equal(getattr(plain, field.name), getattr(logged, field.name)), field.name


def test_first_token_comes_with_the_last_prompt_token_and_every_step_gives_one_more():
    result = run(trace((7, 10, 4)), config(), affine_costs(base=100))
    assert (result.first_scheduled_ns[0], result.first_token_ns[0], result.finish_ns[0]) == (7, 107, 407)


def test_a_budget_cuts_prompts_into_chunks_and_decodes_go_first():
    result = run(trace((0, 5, 3), (0, 10, 1)), config(max_num_batched_tokens=8), affine_costs(), log=True)
    assert result.log is not None
    batches = list(zip(result.log.batch_request.tolist(), result.log.batch_new_tokens.tolist(), strict=True))
    assert batches == [(0, 5), (1, 3), (0, 1), (1, 7), (0, 1)]


def test_a_step_costs_new_tokens_and_kv_read():
    result = run(trace((0, 10, 3)), config(), affine_costs(base=1000, token=10, kv=1))
    first = 1000 + 10 * 10 + 10
    assert result.first_token_ns[0] == first
    assert result.finish_ns[0] == first + (1010 + 11) + (1010 + 12)
    assert (result.decode_sequences, result.decode_context_tokens) == (2, 23)
    assert (result.prefill_chunks, result.prefill_tokens, result.prefill_pairs) == (1, 10, 55)
    assert (result.decode_ns, result.prefill_ns) == (23, 10)


def test_host_time_adds_to_synchronous_steps_and_hides_behind_the_batch_with_async_scheduling():
    costs = affine_costs(base=100, host_ns=np.full(9, 30))
    # prefill starts after the host; each decode waits for the host as well
    assert run(trace((0, 4, 4)), config(), costs).finish_ns[0] == 4 * (30 + 100)
    # only the first decision is exposed: the next ones are taken while a batch runs
    assert run(trace((0, 4, 4)), config(async_scheduling=True), costs).finish_ns[0] == 30 + 4 * 100


def test_pipeline_stages_work_on_different_requests_at_once():
    costs = affine_costs(base=100, stages=2)
    lone = run(trace((0, 4, 5)), config(pipeline_parallel_size=2), costs)
    assert lone.finish_ns[0] == 5 * 100
    # two requests admitted one step apart fill both stages: the second is late by one stage, not by a whole step
    pair = run(trace((0, 4, 5), (0, 4, 5)), config(pipeline_parallel_size=2, max_num_batched_tokens=8, max_num_seqs=8,
                                                   long_prefill_token_threshold=0, enable_chunked_prefill=True), costs)
    assert pair.makespan_ns == 500
    split = run(trace((0, 8, 5), (0, 8, 5)), config(pipeline_parallel_size=2, max_num_batched_tokens=8), costs)
    assert split.finish_ns.tolist() == [500, 550]


def test_the_longest_context_costs_extra_where_the_spread_says_so():
    costs = affine_costs(base=100, decode_spread_ns=np.full(9, 5.0))
    plain = run(trace((0, 10, 2), (0, 20, 2)), config(), affine_costs(base=100))
    spread = run(trace((0, 10, 2), (0, 20, 2)), config(), costs)
    assert spread.makespan_ns - plain.makespan_ns == 5 * (21 - 16)  # contexts 11 and 21, mean 16


def test_requests_go_to_the_channel_with_the_fewest_tokens():
    costs = affine_costs(base=0, channels=2, channel_request_ns=0.0, channel_token_ns=1.0)
    # 20 -> channel 0, 5 -> channel 1, 5 -> channel 1: the busiest holds max(20, 10), plus the new tokens
    result = run(trace((0, 20, 2), (0, 5, 2), (0, 5, 2)), config(), costs)
    assert result.decode_ns == 21
    # 5 -> 0, 5 -> 1, 20 -> 0 (tie: the lowest)
    assert run(trace((0, 5, 2), (0, 5, 2), (0, 20, 2)), config(), costs).decode_ns == 6 + 21


def test_preemption_recomputes_prompt_and_outputs():
    # 4 blocks of 4: two requests of 8 tokens fill them; the first decode needs a fifth, so the second is preempted,
    # waits for the first to finish and then computes its 8 prompt tokens and 1 output again
    result = run(trace((0, 8, 5), (0, 8, 5)), config(num_gpu_blocks=5), affine_costs(base=100), log=True)
    assert result.preemptions.tolist() == [0, 1]
    assert result.finish_ns.tolist() == [500, 900]
    assert result.log is not None and result.log.batch_new_tokens.tolist() == [8, 8, 1, 1, 1, 1, 9, 1, 1, 1]


def test_preemption_by_swap_moves_blocks_and_computes_nothing_twice():
    result = run(trace((0, 8, 5), (0, 8, 5)), config(num_gpu_blocks=5, preemption="swap"),
                 affine_costs(base=100, swap_block_ns=7), log=True)
    assert result.log is not None and result.log.batch_new_tokens.tolist() == [8, 8, 1, 1, 1, 1, 1, 1, 1, 1]
    # two blocks out before the step at 100, two blocks in before the one after the first request has finished
    assert result.finish_ns.tolist() == [500 + 14, 900 + 28]


def test_two_equal_requests_that_preempt_each_other_for_ever_are_reported():
    # each needs 4 of the 5 blocks for its prompt and computes it token by token: the one admitted first is the victim
    tight = config(num_gpu_blocks=6, policy="priority", scheduler_reserve_full_isl=False,
                   long_prefill_token_threshold=1)
    with pytest.raises(RuntimeError, match="livelock"):
        run(trace((0, 16, 1), (0, 16, 1)), tight, affine_costs())
    assert (run(trace((0, 16, 1), (1, 16, 1)), tight, affine_costs()).finish_ns > 0).all()


def test_what_can_never_fit_is_rejected_and_the_rest_is_served():
    result = run(trace((0, 128, 1), (0, 100, 100), (0, 16, 2), (0, 8, 2)),
                 config(num_gpu_blocks=5, max_model_len=128), affine_costs())
    # no room for an output; too many blocks even alone; 16 + 1 computed tokens need a fifth block; fits
    assert (result.finish_ns < 0).tolist() == [True, True, True, False]


def test_generation_ends_at_max_model_len():
    result = run(trace((0, 120, 100)), config(), affine_costs(base=100))
    assert result.finish_ns[0] == 8 * 100


def test_impossible_limits_are_refused_with_their_key():
    cases = [
        ({"max_num_batched_tokens": 4}, "max_num_batched_tokens"),
        ({"enable_chunked_prefill": False, "max_num_batched_tokens": 64}, "max_num_batched_tokens"),
        ({"long_prefill_token_threshold": 129}, "long_prefill_token_threshold"),
        ({"scheduler": "vllm_v2"}, "scheduler"),
        ({"async_scheduling": True, "pipeline_parallel_size": 2}, "async_scheduling"),
        ({"scheduler": "orca", "num_gpu_blocks": 10}, "num_gpu_blocks"),
        ({"max_num_seqs": 9}, "stage_sequences_ns"),
    ]
    for changes, key in cases:
        with pytest.raises(InputError) as caught:
            run(trace((0, 8, 1)), config(**changes), affine_costs())
        assert caught.value.key == key


def test_a_trace_must_be_in_order_of_arrival_and_have_tokens():
    with pytest.raises(InputError, match="arrival_ns"):
        run(trace((5, 8, 1), (0, 8, 1)), config(), affine_costs())
    with pytest.raises(InputError, match="output_tokens"):
        run(trace((5, 8, 0)), config(), affine_costs())


def test_every_named_scheduler_exists():
    assert set(limits.SCHEDULER_NAMES) == set(SCHEDULERS)
    assert {name for name, kind in SCHEDULERS.items() if kind.whole_prompts} == set(limits.WHOLE_PROMPTS)
