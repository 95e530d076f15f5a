"""Weights and KV cache in the same PIM stacks: an NPU alone, with single and with dual row buffers, otherwise equal.

Reference: NeuPIMs' simulator on its own machine (8 arrays of 128 x 128 at 1 GHz, 32 HBM2 channels, 1.024 TB/s), attention
of 32 requests, 8 heads of 128, in cycles of 1 ns: dual 33,198 (L = 1,024), single 40,880, reading the cache over the host
bus 131,072 at best. Its shipped single-buffer and NPU-only baselines are slower for reasons other than the feature.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.design.load import load_design, load_hardware
from simulator.design.records.serving import Parallelism
from simulator.design_key import design_key
from simulator.devices.build import build
from simulator.engine.batch_time import step_time
from simulator.inputs.errors import InputError
from simulator.model.operators import DecodeAttention, Gemm
from simulator.pricing.cache import CostCache
from simulator.pricing.price import price
from simulator.pricing.step_time import step_tables
from simulator.scheduler.requests import Entry
from simulator.silicon.money import bill
from simulator.simulate import simulate
from tests.devices.builders import costs

HEADS = DecodeAttention(8, 8, 128, 16, 16)
NEUPIMS = {"memory": {"kind": "HBM2", "stacks": 4, "bandwidth": "1024 GB/s"}, "npu.vector_lanes": 1024}
VARIANTS = {
    "npu": {},
    "single": {"pim": {"placement": "shared", "row_buffer": "single", "commands": "newton", "mapping": "request"}},
    "dual": {"pim": {"placement": "shared", "row_buffer": "dual", "commands": "newton", "mapping": "request"}}}


def machine(variant):
    return load_hardware("npu-base", {**NEUPIMS, **VARIANTS[variant]})


def attention_s(variant, context, requests=32):
    device = build(machine(variant), Parallelism()).decode
    return device.price(HEADS, np.array([float(requests)]), np.array([float(context)])).seconds[0]


def test_gains_are_those_of_fair_baselines():
    """Long contexts, where rounding up to rows does not show: PIM 3.95 times the host bus at its peak (131,072 / 33,198),
    dual 1.23 times single (40,880 / 33,198)."""
    npu, single, dual = (attention_s(v, 65_536) for v in VARIANTS)
    host_bus_s = 32 * 65_536 * 2 * 1024 * 2 / 1.024e12
    assert host_bus_s / dual == pytest.approx(131_072 / 33_198, rel=0.05)
    assert single / dual == pytest.approx(40_880 / 33_198, rel=0.02)
    assert npu / host_bus_s == pytest.approx(1 / 0.887, rel=0.02)  # streams reach 88.7 % of the pins


def test_the_designs_differ_in_nothing_but_the_feature():
    devices = {v: build(machine(v), Parallelism()) for v in VARIANTS}
    gemm, rows = Gemm(4096, 4096, 16, 16), np.array([1.0, 64.0, 4096.0])
    for found in devices.values():
        assert found.compute.fingerprint() == devices["npu"].compute.fingerprint()
        assert (found.compute.price(gemm, rows).seconds == devices["npu"].compute.price(gemm, rows).seconds).all()
    assert devices["single"].beside_pim is None
    slowed = devices["dual"].beside_pim.price(gemm, rows).seconds / devices["npu"].compute.price(gemm, rows).seconds
    assert (slowed >= 1).all()
    assert slowed.max() < 1.06  # ten commands of a row tile's 244 cycles


def layer_ns(variant, batch, context, sub_batches="never"):
    """A decode step of GPT3-7B on 4 NPUs, per layer."""
    pim = {**VARIANTS[variant].get("pim", {}), **({"sub_batches": sub_batches} if variant != "npu" else {})}
    design = load_design("npu-chat", {
        "model": "gpt3-7b", "parallelism.tensor": 4, "hardware.npu.vector_lanes": 1024, "serving.max_num_seqs": 512,
        "hardware.memory": NEUPIMS["memory"], **({"hardware.pim": pim} if pim else {})})
    table = step_tables(price(design, CostCache()).costs)
    channels = max(table.channels, 1)
    entries = [Entry(None, 1, context - 1, i % channels, True) for i in range(batch)]
    time = step_time(entries, table)
    return time.blocks_ns / 32, int(table.linear_ns[batch]) / 32, time.decode_ns / 32


def test_a_layer_adds_up_in_turn_and_overlaps_with_sub_batches():
    """128 requests of 586 tokens: with single buffers NPU and PIM take turns; sub-batches gain nothing there."""
    npu, single, dual = (layer_ns(v, 128, 586) for v in VARIANTS)
    assert npu[0] > single[0] > dual[0]
    for total, linear, decode in (npu, single, dual):
        assert total == pytest.approx(linear + decode, abs=1)
    assert layer_ns("single", 128, 586, "always")[0] == single[0]
    interleaved = layer_ns("dual", 512, 586, "always")
    assert interleaved[0] >= max(interleaved[1:])
    assert interleaved[0] < layer_ns("dual", 512, 586)[0]  # compute-bound GEMMs beside long attention: it pays


TABLES = dict.fromkeys(("never", "always", "auto"))


def shared_tables(mode):
    if TABLES[mode] is None:
        design = load_design("npu-pim-chat", {"hardware.pim.placement": "shared", "hardware.pim.sub_batches": mode,
                                              "serving.max_num_batched_tokens": 8192})
        TABLES[mode] = step_tables(price(design, CostCache()).costs)
    return TABLES[mode]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(TABLES)), st.integers(0, 200), st.integers(1, 8000),
       st.lists(st.tuples(st.integers(2, 1500), st.integers(0, 4000)), max_size=3))
def test_no_overlap_beats_the_larger_part(mode, decodes, context, chunks):
    """Blocks take at least PIM's time, and at least the NPU's: linear operators and prefill."""
    entries = [Entry(None, 1, context - 1, 0, True)] * decodes + [Entry(None, new, done, 0, False) for new, done in chunks]
    if not entries:
        return
    table = shared_tables(mode)
    time = step_time(entries, table)
    npu_ns = int(table.linear_ns[time.tokens]) + time.prefill_ns
    assert time.blocks_ns >= max(time.decode_ns, npu_ns) * (1 - 1e-3)  # halves of odd batches are rounded
    assert time.blocks_ns <= 1.5 * (int(table.linear_ns[time.tokens]) * 2 + time.prefill_ns + time.decode_ns)


def test_shared_stacks_cost_a_premium_and_hold_both():
    plain, shared = load_hardware("npu-base", {}), load_hardware("npu-base", {"pim.placement": "shared"})
    prices = costs()
    extra = bill(shared, prices).device_usd - bill(plain, prices).device_usd
    gigabytes = 4 * 16
    assert extra == pytest.approx(gigabytes * prices.memory.hbm3 * (prices.pim_premium - 1) * prices.assembly_loss
                                  * prices.margins.challenger)
    assert bill(shared, prices).area_mm2 == bill(plain, prices).area_mm2
    designs = [load_design("npu-chat", {"hardware.pim.placement": p}) for p in ("none", "shared")]
    kv = [price(d, CostCache()).kv_memory.kv_bytes for d in designs]
    assert kv[0] == kv[1]


def test_knobs_without_effect_do_not_make_another_design():
    def key(**pim):
        return design_key(load_design("npu-chat", {"hardware.pim": {"placement": "shared", **pim}}))
    assert key() == key(stacks_per_npu=2, kind="HBM2E") == key(link_latency="9 us")
    assert key(row_buffer="single") == key(row_buffer="single", sub_batches="always")
    assert key() != key(row_buffer="single")
    assert key() != key(sub_batches="always")


@pytest.mark.parametrize(("changes", "says"), [
    ({"pim": {"placement": "shared", "unit": "buffer"}}, "needs unit bank"),
    ({"pim": {"placement": "shared"}, "memory": {"kind": "GDDR6", "stacks": 8}}, "needs HBM"),
    ({"pim": {"placement": "shared", "commands": "newton", "mapping": "request"}}, "needs memory.kind HBM2"),
])
def test_impossible_memories_are_one_line(changes, says):
    with pytest.raises(InputError, match=says):
        load_hardware("npu-base", changes)


@pytest.mark.parametrize("change", [{}, {"hardware.pim.row_buffer": "single"}, {"hardware.pim.commands": "all_bank", "hardware.pim.mapping": "head"}])
def test_both_engines_serve_from_shared_stacks_alike(change):
    served = load_design("npu-chat", {"hardware": "neupims", "workload": "chat-200", **change})
    fast, slow = simulate(served), simulate(served, use_reference=True)
    assert fast.metrics == slow.metrics
    assert fast.metrics["pim_utilization"] > 0
