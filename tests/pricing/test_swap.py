"""KV blocks that wait in host or CXL memory: what moving one costs, and that engines pay it."""

import pytest

from simulator.design.load import load_design
from simulator.design_key import design_key
from simulator.prepare import violations
from simulator.pricing.cache import CostCache
from simulator.pricing.price import price
from simulator.simulate import simulate

SWAP = {"serving.preemption": "swap", "workload": "chat-200"}


def test_a_block_takes_its_bytes_over_the_tier():
    """Llama-3.1-8B: 2 x 8 heads x 128 x 2 bytes x 32 layers = 128 KiB a token, 16 tokens a block; a quarter of it at TP 4."""
    host = price(load_design("h100-chat", SWAP), CostCache()).costs
    assert host.swap_block_ns == pytest.approx(2_000 + 16 * 131_072 / 63, abs=1)
    cxl = {"serving.swap_to": "cxl", "hardware.cxl": {"bandwidth": "32 GB/s", "latency": "1 us", "capacity": "1 TB"}}
    far = price(load_design("h100-chat", {**SWAP, **cxl, "parallelism.tensor": 4}), CostCache()).costs
    assert far.swap_block_ns == pytest.approx(1_000 + 4 * 131_072 / 32, abs=1)
    assert price(load_design("h100-chat", {"workload": "chat-200"}), CostCache()).costs.swap_block_ns == 0


def test_swapping_spares_recomputation_where_blocks_are_short():
    tight = {"workload": "chat-200", "workload.rate": "100 requests/s", "serving.num_gpu_blocks": 1500,
             "serving.max_model_len": 4096, "slo.allow_rejected": 0.01}
    again = simulate(load_design("h100-chat", tight))
    swapped = simulate(load_design("h100-chat", {**tight, "serving.preemption": "swap"}))
    assert again.metrics["preemptions"] > 0
    assert swapped.metrics["preemptions"] > 0
    assert swapped.replicas[0].run.prefill_tokens < again.replicas[0].run.prefill_tokens
    slow = simulate(load_design("h100-chat", {**tight, "serving.preemption": "swap", "hardware.host_memory.bandwidth": "0.1 GB/s"}))
    assert slow.metrics["makespan"] > swapped.metrics["makespan"]


def test_the_tier_must_hold_the_cache_it_backs():
    found = violations(load_design("h100-chat", {**SWAP, "hardware.host_memory.capacity": "10 GB"}))
    assert [v.name for v in found] == ["swap_fit"]
    missing = violations(load_design("h100-chat", {**SWAP, "serving.swap_to": "cxl"}))
    assert [v.name for v in missing] == ["swap_fit"]


def test_where_nothing_is_swapped_its_place_does_not_make_another_design():
    base, cxl = (design_key(load_design("h100-chat", change)) for change in ({}, {"serving.swap_to": "cxl"}))
    assert base == cxl
    assert design_key(load_design("h100-chat", SWAP)) != design_key(load_design("h100-chat", {"workload": "chat-200"}))


def test_both_engines_swap_alike():
    tight = load_design("h100-chat", {**SWAP, "workload.rate": "100 requests/s", "serving.num_gpu_blocks": 1500, "serving.max_model_len": 4096,
                                      "slo.allow_rejected": 0.01})
    assert simulate(tight).metrics == simulate(tight, use_reference=True).metrics
