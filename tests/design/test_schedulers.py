"""Schedulers named in designs: whose they are by default, what each refuses, and plug-ins."""

from __future__ import annotations

import pytest

from simulator.design.load import load_design, resolve
from simulator.design_key import design_key
from simulator.inputs.errors import InputError
from simulator.prepare import prepare
from simulator.pricing.cache import CostCache
from simulator.scheduler.limits import served_outputs
from simulator.scheduler.scheduler import Scheduler
from simulator.simulate import simulate
from simulator.streamed import simulate_streamed
from tests.engine.builders import trace

CHAT = {"model": "llama-3.1-8b", "hardware": "h100-sxm", "workload": "chat-200"}


class LastComeFirstServed(Scheduler):
    """A plug-in."""

    def rank(self, request):
        return -request.index


def serving(**said: object):
    engine = {"engine": said.pop("engine")} if "engine" in said else {}
    parallelism = {"parallelism": {"pipeline": said.pop("stages")}} if "stages" in said else {}
    return resolve({**CHAT, **engine, **parallelism, "serving": said}).serving


@pytest.mark.parametrize(("engine", "own"), [("vllm-0.32", "vllm_v1"), ("sglang-0.5.14", "sglang"), ("trtllm-1.3", "tensorrt_llm")])
def test_an_engine_brings_its_own_scheduler_and_another_can_be_said(engine, own):
    assert serving(engine=engine).scheduler == own
    assert serving(engine=engine, scheduler="vllm_v1").scheduler == "vllm_v1"
    assert serving().scheduler == "vllm_v1"


def test_what_is_left_open_is_the_schedulers():
    assert serving(scheduler="orca").enable_chunked_prefill is False
    assert serving(scheduler="sglang").scheduler_reserve_full_isl is False
    assert serving(engine="vllm-0.32", scheduler="static").enable_chunked_prefill is False
    plain = resolve({**CHAT, "serving": {"scheduler": "sglang"}})
    assert resolve(plain.to_plain()) == plain


@pytest.mark.parametrize(("said", "key", "why"), [
    ({"scheduler": "sglag"}, "serving.scheduler", "did you mean 'sglang'"),
    ({"scheduler": "sglang", "policy": "priority"}, "serving.policy", "fcfs or lpm"),
    ({"scheduler": "vllm_v1", "policy": "lpm"}, "serving.policy", "fcfs or priority"),
    ({"scheduler": "tensorrt_llm", "policy": "lpm"}, "serving.policy", "by fcfs, not by lpm"),
    ({"scheduler": "sglang", "preemption": "swap"}, "serving.preemption", "computes preempted requests again"),
    ({"scheduler": "tensorrt_llm", "watermark": 0.1}, "serving.watermark", "is vLLM's"),
    ({"scheduler": "sglang", "long_prefill_token_threshold": 64}, "serving.long_prefill_token_threshold", "is vLLM's"),
    ({"scheduler": "sglang", "scheduler_reserve_full_isl": True}, "serving.scheduler_reserve_full_isl", "is vLLM's"),
    ({"scheduler": "sglang", "stages": 2}, "serving.scheduler", "several pipeline stages"),
    ({"scheduler": "orca", "enable_chunked_prefill": True}, "serving.enable_chunked_prefill", "never splits a prompt"),
    ({"scheduler": "vllm_v0", "long_prefill_token_threshold": 64}, "serving.long_prefill_token_threshold", "never splits"),
    ({"async_scheduling": True, "stages": 2}, "serving.async_scheduling", "pipeline_parallel_size > 1"),
    ({"scheduler": "no_such_package:Mine"}, "serving.scheduler", "cannot be imported"),
    ({"scheduler": "simulator.scheduler.scheduler:Mine"}, "serving.scheduler", "has no 'Mine'"),
    ({"scheduler": "json:JSONEncoder"}, "serving.scheduler", "needs enqueue, schedule and deliver"),
])
def test_what_a_scheduler_refuses_is_one_clear_error(said, key, why):
    with pytest.raises(InputError) as caught:
        serving(**said)
    assert caught.value.key == key and why in str(caught.value)


def test_the_key_of_a_design_under_vllms_scheduler_is_what_it_was_before_there_was_a_choice():
    assert design_key(resolve(CHAT)) == design_key(resolve({**CHAT, "serving": {"scheduler": "vllm_v1"}}))
    assert design_key(resolve(CHAT)) != design_key(resolve({**CHAT, "serving": {"scheduler": "sarathi"}}))


def test_a_plug_in_serves_a_design():
    named = f"{__name__}:LastComeFirstServed"
    own, vllm = (load_design("h100-chat", {"workload": "chat-200", "serving.max_num_seqs": 4, "serving.scheduler": name})
                 for name in (named, "vllm_v1"))
    cache = CostCache()
    late, early = simulate(own, cache=cache), simulate(vllm, cache=cache)
    assert late.metrics["steps"] != early.metrics["steps"]
    assert late.metrics["requests"] == early.metrics["requests"] == 200
    # whoever came first waits longest
    assert late.replicas[0].run.first_token_ns.argmax() < early.replicas[0].run.first_token_ns.argmax()


def test_tensorrt_llm_limits_a_prompt_by_its_budget_but_not_a_sequence():
    limits = {"max_num_batched_tokens": 1024, "max_num_seqs": 64}
    own, vllm = (prepare(resolve({**CHAT, "engine": "trtllm-1.3", "serving": limits | said}), CostCache()).scheduler
                 for said in ({}, {"scheduler": "vllm_v1"}))
    assert own.max_model_len == 131072 and vllm.max_model_len == 1024
    lengths = trace((0, 1024, 100), (0, 1025, 1))
    assert served_outputs(lengths, own).tolist() == [100, 0] and served_outputs(lengths, vllm).tolist() == [0, 0]


def test_engines_set_their_schedulers_options():
    said = {"base": "trtllm-1.3", "scheduler": {"trtllm": {"capacity": "max_utilization"}}}
    priced = simulate(resolve({**CHAT, "engine": said})).priced
    assert priced.scheduler.tensorrt_llm.capacity == "max_utilization"
    said = {"base": "sglang-0.5.14", "scheduler": {"sglang": {"mixed_chunk": True}}}
    assert simulate(resolve({**CHAT, "engine": said})).priced.scheduler.sglang.mixed_chunk


def test_a_scheduler_of_the_reference_engine_is_not_streamed():
    with pytest.raises(InputError, match="sglang runs on the reference engine"):
        simulate_streamed(resolve({**CHAT, "serving": {"scheduler": "sglang"}}))
