"""Speculation: what methods reserve, what steps hold and cost, by hand arithmetic from the rules."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.engine.reference import run
from simulator.inputs.errors import InputError
from simulator.scheduler.acceptance import DrawnAcceptance, RecordedAcceptance
from simulator.scheduler.config import KvGroupConfig, SpeculationConfig
from simulator.scheduler.speculation import Reserved, cut_for_reading_ahead, reserved
from tests.engine.builders import affine_costs, config, trace


def speculation(method="ngram", tokens=3, accepted=((3, 0),), proposed=None, **more):
    return SpeculationConfig(method, tokens, RecordedAcceptance(accepted, proposed), **more)


def serve(*requests, costs=None, spec=None, **limits):
    result = run(trace(*requests), config(speculation=spec or speculation(accepted=((3, 0),) * len(requests)), **limits),
                 costs or affine_costs(), log=True)
    assert result.log is not None
    return result


def entries(result):
    """(request, new tokens, drafts, output) of every entry."""
    log = result.log
    return list(zip(log.batch_request.tolist(), log.batch_new_tokens.tolist(), log.batch_drafts.tolist(), log.batch_outputs.tolist(),
                    strict=True))


@pytest.mark.parametrize(("method", "more", "expected"), [
    ("ngram", {}, Reserved(0, 0, 0, False)),
    ("eagle", {}, Reserved(5, 0, 1, True)),
    ("eagle", {"parallel": True}, Reserved(5, 4, 1, True)),
    ("mtp", {}, Reserved(5, 0, 1, True)),
    ("mtp", {"modules": 4}, Reserved(5, 0, 5, True)),
    ("draft_model", {}, Reserved(5, 1, 0, False)),
    ("draft_model", {"parallel": True}, Reserved(5, 5, 0, False)),
    ("dflash", {}, Reserved(6, 5, 1, True)),
])  # fmt: skip
def test_what_each_method_reserves(method, more, expected):
    assert reserved(speculation(method, 5, **more)) == expected


def test_one_draft_needs_one_module_only():
    assert reserved(speculation("mtp", 1, modules=4)).reads_ahead == 1
    assert reserved(None) == Reserved(0, 0, 0, False)


def test_a_step_gives_one_token_and_the_accepted_drafts():
    # 10 outputs: 1 from the prompt, then 4, 1 and 4
    result = serve((0, 8, 10))
    assert entries(result) == [(0, 8, 0, 1), (0, 4, 3, 4), (0, 4, 3, 1), (0, 4, 3, 4)]
    assert result.finish_ns[0] == 400
    assert (result.checked_drafts, result.accepted_drafts) == (9, 6)


def test_drafts_are_not_cut_to_the_output_and_surplus_tokens_are_dropped():
    assert entries(serve((0, 8, 3)))[1:] == [(0, 4, 3, 2)]


def test_a_rejected_draft_is_computed_again():
    # computed before: 8 prompt tokens, then 1 + 3 accepted, then 1 of 4
    assert serve((0, 8, 10)).log.batch_computed.tolist() == [0, 8, 12, 13]


def test_drafts_take_blocks_and_keep_them():
    # of 8, 12, 16 and 13 + 4 = 17 tokens; the drafter's look-ahead adds 3
    assert serve((0, 8, 10)).log.held.tolist() == [[2], [3], [4], [5]]
    ahead = serve((0, 8, 10), spec=speculation("eagle"))
    assert ahead.log.held.tolist() == [[3], [4], [5], [5]]  # of 11, 15, 19 and 20 tokens


def test_drafts_end_where_the_context_ends():
    # 128 tokens at most: at 124 computed 3 new tokens are left, so two drafts; at 127 none
    last = entries(serve((0, 124, 4), spec=speculation(accepted=((0,),))))
    assert last == [(0, 124, 0, 1), (0, 3, 2, 1), (0, 2, 1, 1), (0, 1, 0, 1)]


def test_drafting_slots_are_paid_from_the_budget():
    # two requests of 8 tokens at a budget of 12: beside its tokens each pays one slot for the draft model
    spec = speculation("draft_model", accepted=((0,), (0,)))
    result = serve((0, 8, 1), (0, 8, 1), spec=spec, max_num_batched_tokens=12)
    assert [new for _, new, _, _ in entries(result)] == [8, 2, 6]  # 12 - 8 - 1 = 3, less its own slot 2


def test_a_budget_cuts_drafts_first():
    # 2 requests decode with 3 drafts each: a budget of 8 holds both, at 6 the second keeps one of its three
    spec = speculation(accepted=((0,), (0,)))
    result = serve((0, 4, 3), (0, 4, 3), spec=spec, max_num_batched_tokens=8, max_num_seqs=2, long_prefill_token_threshold=4)
    assert entries(result)[2:4] == [(0, 4, 3, 1), (1, 4, 3, 1)]
    result = serve((0, 3, 3), (0, 3, 3), spec=spec, max_num_batched_tokens=6, max_num_seqs=2)
    assert entries(result)[2:4] == [(0, 4, 3, 1), (1, 2, 1, 1)]


def test_ngram_proposes_as_many_as_it_finds():
    spec = speculation(accepted=((9,),), proposed=((0, 2, 1),))
    assert entries(serve((0, 8, 7), spec=spec)) == [(0, 8, 0, 1), (0, 1, 0, 1), (0, 3, 2, 3), (0, 2, 1, 2)]


def test_an_asynchronous_engine_counts_on_all_drafts_until_it_knows():
    # two batches in flight: the third is decided when the first has ended, before the second is known
    result = serve((0, 8, 6), spec=speculation("eagle", accepted=((0, 3),)), async_scheduling=True)
    assert entries(result)[:3] == [(0, 8, 0, 1), (0, 4, 3, 1), (0, 4, 3, 4)]
    assert result.log.batch_computed.tolist()[:3] == [0, 8, 12]  # 12 counts three drafts that are then rejected
    # an answer that ends by accepting has one more step in flight, which gives nothing
    assert entries(result)[3:] == [(0, 4, 3, 0)]
    result = serve((0, 8, 4), spec=speculation("eagle", accepted=((3,),)), async_scheduling=True)
    assert entries(result) == [(0, 8, 0, 1), (0, 4, 3, 3), (0, 4, 3, 0)]


def test_a_lone_last_token_is_padded_with_dummies_beside_decodes():
    # request 1 has a prompt of one token: beside the decode of request 0 it runs with three dummy drafts, all rejected
    spec = speculation(accepted=((0,), (2,)))
    result = serve((0, 8, 3), (50, 1, 4), spec=spec)
    assert entries(result)[1:3] == [(0, 4, 3, 1), (1, 4, 3, 1)]
    assert entries(result)[4] == (1, 4, 3, 3)  # its first own verification accepts 2
    # alone it is not
    assert entries(serve((0, 1, 2), spec=speculation(accepted=((0,),))))[0] == (0, 1, 0, 1)


def test_a_drafter_of_several_modules_never_leaves_a_short_rest():
    assert [cut_for_reading_ahead(new, 10, 4) for new in (10, 9, 7, 6, 5)] == [10, 6, 6, 6, 5]
    assert cut_for_reading_ahead(2, 3, 4) == -1  # it waits
    spec = speculation("mtp", 3, modules=3, accepted=((0,),))
    assert [new for _, new, _, _ in entries(serve((0, 10, 1), spec=spec, max_num_batched_tokens=8))] == [7, 3]


def test_a_drafter_pays_the_last_block_of_a_hit():
    shared = {"prompt_ids": np.zeros(32, np.int32), "prompt_id_offsets": np.array([0, 16, 32])}
    requests = trace((0, 16, 1), (10_000, 16, 1), **shared)
    for method, cached in (("draft_model", 12), ("eagle", 8)):
        spec = speculation(method, accepted=((0,), (0,)))
        assert run(requests, config(enable_prefix_caching=True, speculation=spec), affine_costs()).cached_tokens.tolist() == [0, cached]


def test_verification_and_the_drafter_have_prices():
    drafter = {"draft_tokens_ns": np.arange(257), "draft_sequences_ns": 1000 * np.arange(9)}
    base = serve((0, 8, 10), costs=affine_costs(kv=1))
    costly = serve((0, 8, 10), costs=affine_costs(kv=1, **drafter))
    assert costly.draft_ns == 4 * 1000 + (8 + 4 + 4 + 4)
    assert costly.makespan_ns - base.makespan_ns == costly.draft_ns
    # contexts after the step are 12, 16 and 17; twice the price where drafts are checked
    double = 2 * np.arange(9.0)[:, None] * np.array([0.0, 1000.0])
    verified = serve((0, 8, 10), costs=affine_costs(kv=1, verify_ns=double))
    assert (base.decode_ns, verified.decode_ns) == (45, 90)
    assert (base.decode_sequences, base.decode_context_tokens) == (3, 45)
    # on PIM channels every query token reads what is before it: 9 + 10 + 11 + 12, 13 to 16, 14 to 17
    channels = serve((0, 8, 10), costs=affine_costs(channels=2, channel_request_ns=0.0, channel_token_ns=1.0))
    assert channels.decode_ns == 42 + 58 + 62


def test_draws_do_not_depend_on_the_design():
    spec = SpeculationConfig("ngram", 4, DrawnAcceptance((0.9, 0.7, 0.4, 0.2), seed=5))
    requests = [(i * 10, 5 + i, 30) for i in range(6)]
    found = [serve(*requests, spec=spec, **limits) for limits in ({}, {"max_num_seqs": 1}, {"num_gpu_blocks": 25})]
    assert found[2].preemptions.sum() > 0
    outputs = []
    for result in found:
        chosen = {i: [out for r, _, drafts, out in entries(result) if r == i and drafts == 4] for i in range(6)}
        outputs.append(chosen)
    assert outputs[0] == outputs[1] and any(outputs[0].values())
    for request, steps in outputs[2].items():  # a resumed request gets one token without drafts: later draws differ, earlier not
        assert steps[0] == outputs[0][request][0]
    mean = np.mean([out for steps in outputs[0].values() for out in steps])
    assert 2.2 < mean < 4.2  # 1 + 0.9 + 0.7 + 0.4 + 0.2 = 3.2, less what the ends of answers drop


@pytest.mark.parametrize(("spec", "limits", "key"), [
    (speculation("eagle4"), {}, "speculation.method"),
    (speculation(tokens=0), {}, "speculation.tokens"),
    (speculation(modules=2), {}, "speculation.modules"),
    (speculation(parallel=True), {}, "speculation.parallel"),
    (speculation(), {"async_scheduling": True}, "async_scheduling"),
    (speculation(), {"long_prefill_token_threshold": 3}, "long_prefill_token_threshold"),
    (speculation(), {"scheduler": "sarathi"}, "scheduler"),
    (speculation(), {"preemption": "swap"}, "preemption"),
    (speculation("eagle"), {"kv_groups": (KvGroupConfig("chunk", 4, 8),)}, "kv_groups"),
    (speculation("mtp", 5, modules=5), {"enable_prefix_caching": True}, "speculation.modules"),
    (speculation("dflash", 8), {"max_num_batched_tokens": 8}, "max_num_batched_tokens"),
    (speculation("eagle"), {"enable_prefix_caching": True, "kv_groups": (KvGroupConfig("state", 4),)}, "enable_prefix_caching"),
    (SpeculationConfig("ngram", 2, DrawnAcceptance((0.5, 0.6))), {}, "speculation.acceptance"),
    (SpeculationConfig("ngram", 1, DrawnAcceptance((0.5, 0.4))), {}, "speculation.acceptance"),
    (None, {"kv_groups": (KvGroupConfig("sink", 4),)}, "kv_groups"),
    (None, {"kv_groups": (KvGroupConfig("window", 4),)}, "kv_groups"),
    (None, {"kv_groups": (KvGroupConfig("full", 4, 8),)}, "kv_groups"),
    (None, {"kv_groups": (KvGroupConfig("full", 4), KvGroupConfig("state", 8)), "enable_prefix_caching": True}, "kv_groups"),
    (None, {"kv_groups": (KvGroupConfig("state", 4),), "enable_prefix_caching": True, "enable_chunked_prefill": False},
     "enable_chunked_prefill"),
    (None, {"kv_groups": (KvGroupConfig("window", 4, 8),), "prefix_cache_retention_interval": 6}, "prefix_cache_retention_interval"),
    (None, {"prefix_cache_retention_interval": 8}, "prefix_cache_retention_interval"),
])  # fmt: skip
def test_what_vllm_refuses_or_nobody_recorded_is_refused_by_name(spec, limits, key):
    with pytest.raises(InputError) as caught:
        run(trace((0, 8, 2)), config(speculation=spec, **limits), affine_costs())
    assert caught.value.key == key
