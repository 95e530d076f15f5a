"""What must hold at every design: no time below the roofline, more of a resource never slower, more work never faster."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.design.load import CONFIGS
from simulator.design.records.serving import Parallelism
from simulator.devices.build import build
from simulator.devices.device import Bound
from simulator.devices.roofline import roofline_s
from simulator.model.operators import Collective, DecodeAttention, Gemm, PrefillAttention, Vector
from tests.devices.builders import npu, shipped

sizes = st.integers(1, 20_000)
npus = st.builds(
    npu, rows=st.sampled_from([16, 64, 128, 256]), columns=st.sampled_from([16, 128, 200]), arrays=st.integers(1, 16),
    dataflow=st.sampled_from(["weight_stationary", "output_stationary", "input_stationary"]),
    pipelined_folds=st.booleans(), vector_lanes=st.sampled_from([128, 4096]),
    sram_bytes=st.sampled_from([2.0**18, 2.0**22, 2.0**27]), bandwidth_bytes_per_s=st.sampled_from([1e11, 3e12]))
bits = st.sampled_from([4, 8, 16])
gemms = st.builds(Gemm, n=sizes, k=sizes, weight_bits=bits, activation_bits=st.sampled_from([8, 16]))


def attention(kind):
    return st.builds(lambda kv, group, dim, kv_bits: kind(kv * group, kv, dim, kv_bits, 16), st.sampled_from([1, 8, 32]),
                     st.sampled_from([1, 4, 8]), st.sampled_from([64, 80, 128]), st.sampled_from([8, 16]))


def operator_and_axes():
    rows = st.tuples(st.one_of(gemms, st.builds(Vector, width=sizes, flops_per_element=st.floats(0, 10),
                                                exps_per_element=st.floats(0, 2), read_bytes_per_row=st.floats(0, 1e5),
                                                write_bytes_per_row=st.floats(0, 1e5))), st.tuples(sizes))
    prefill = st.tuples(attention(PrefillAttention), st.tuples(st.integers(1, 8192), st.integers(0, 50_000)))
    decode = st.tuples(attention(DecodeAttention), st.tuples(st.integers(1, 512), st.integers(0, 50_000)))
    return st.one_of(rows, prefill, decode)


def seconds(device, operator, axes):
    return device.price(operator, *(np.array([float(a)]) for a in axes)).seconds[0]


@settings(max_examples=150, deadline=None)
@given(npus, operator_and_axes(), st.sampled_from(["bandwidth_bytes_per_s", "arrays", "clock_hz", "vector_lanes", "sram_bytes"]))
def test_more_of_a_resource_is_never_slower(device, work, knob):
    more = {f: getattr(device, f) for f in device.__dataclass_fields__}
    more[knob] = device.arrays + 1 if knob == "arrays" else more[knob] * 2
    assert seconds(type(device)(**more), *work) <= seconds(device, *work) * (1 + 1e-12)


@settings(max_examples=150, deadline=None)
@given(npus, gemms, sizes)
def test_no_gemm_beats_the_roofline(device, gemm, m):
    eight_bit = max(gemm.weight_bits, gemm.activation_bits) <= 8
    peak = device.rows * device.columns * device.arrays * device.clock_hz * (2 if eight_bit else 1)
    least = (m * gemm.k * gemm.activation_bits + gemm.k * gemm.n * gemm.weight_bits + m * gemm.n * 16) / 8
    floor = max(m * gemm.n * gemm.k / peak, least / device.bandwidth_bytes_per_s)
    assert seconds(device, gemm, (m,)) >= floor


@settings(max_examples=100, deadline=None)
@given(npus, st.data())
def test_no_attention_beats_the_roofline(device, data):
    op = data.draw(attention(DecodeAttention))
    batch, context = data.draw(st.integers(1, 512)), data.draw(st.integers(0, 50_000))
    read = batch * context * 2 * op.kv_heads * op.head_dim * op.kv_bits / 8
    assert seconds(device, op, (batch, context)) >= read / device.bandwidth_bytes_per_s
    chunk = data.draw(st.integers(1, 8192))
    pre = PrefillAttention(op.heads, op.kv_heads, op.head_dim, op.kv_bits, 16)
    macs = 2 * op.heads * op.head_dim * (chunk * context + chunk * (chunk + 1) / 2)
    peak = device.rows * device.columns * device.arrays * device.clock_hz
    assert seconds(device, pre, (chunk, context)) >= macs / peak * (1 - 1e-12)


def with_kernels(name, kernels):
    """A shipped GPU with the attention kernels of another framework."""
    hardware = shipped(name)
    return hardware.model_copy(update={"gpu": hardware.gpu.model_copy(update={"kernels": kernels})})


HARDWARE = {**{name: shipped(name) for name in ("npu-pim", "neupims", "h100-sxm", "a100-80gb", "l40s")},
            **{f"{name} {kernels}": with_kernels(name, kernels)
               for name in ("h100-sxm", "a100-80gb") for kernels in ("sglang", "trtllm")}}
DEVICES = {name: build(hardware, Parallelism(tensor=2)) for name, hardware in HARDWARE.items()}


PRESETS = sorted(path.stem for path in (CONFIGS / "hardware").glob("*.yaml"))


CONTINUOUS = {"npu": [("memory", "bandwidth_bytes_per_s"), ("npu", "clock_hz")],
              "gpu": [("memory", "bandwidth_bytes_per_s"), ("gpu", "peak_bf16"), ("gpu", "clock_hz")]}


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(HARDWARE)), operator_and_axes(), st.data(), st.sampled_from([1.001, 1.1, 2.0]))
def test_a_little_more_of_a_resource_changes_little(name, work, data, factor):
    """A resource times x is never slower and never faster than 1/x: no knob jumps, no search can exploit one."""
    hardware = HARDWARE[name]
    section, knob = data.draw(st.sampled_from(CONTINUOUS["npu" if hardware.npu else "gpu"]))
    part = getattr(hardware, section)
    before = getattr(part, knob) or 2e12
    low, high = (build(hardware.model_copy(update={section: part.model_copy(update={knob: before * x})}), Parallelism())
                 for x in (1.0, factor))
    operator, axes = work
    base, more = seconds(low.compute, operator, axes), seconds(high.compute, operator, axes)
    assert base / factor * (1 - 1e-9) <= more <= base * (1 + 1e-9)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PRESETS), operator_and_axes())
def test_no_preset_prices_below_its_roofline(name, work):
    operator, axes = work
    hardware = shipped(name)
    floor = roofline_s(hardware, operator, *(np.array([float(a)]) for a in axes))[0]
    devices = build(hardware, Parallelism())
    assert seconds(devices.compute, operator, axes) >= floor * (1 - 1e-12)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["npu-pim", "neupims"]), st.sampled_from(["bank", "bank_group", "buffer"]),
       st.sampled_from(["request", "head", "sequence"]), st.integers(1, 512), st.integers(1, 20_000), st.sampled_from([1, 4, 8]))
def test_pim_is_never_faster_than_its_mac_commands(name, unit, mapping, sequences, context, group):
    hardware = shipped(name)
    if name == "npu-pim":
        hardware = hardware.model_copy(update={"pim": hardware.pim.model_copy(update={"unit": unit, "mapping": mapping})})
    pim = build(hardware, Parallelism()).decode
    operator, axes = DecodeAttention(8 * group, 8, 128, 16, 16), (np.array([float(sequences)]), np.array([float(context)]))
    assert pim.price(operator, *axes).seconds[0] >= pim.roofline_s(operator, *axes)[0]


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("kv_heads", [1, 8])
def test_longer_contexts_and_larger_batches_never_cost_less(name, kv_heads):
    op = DecodeAttention(8, kv_heads, 128, 16, 16)
    batch, context = np.arange(1.0, 200.0)[:, None], np.linspace(0.0, 30_000.0, 300)[None, :]
    for device in (DEVICES[name].decode, DEVICES[name].compute):
        table = device.price(op, batch, context).seconds
        assert table.shape == (199, 300)
        assert (np.diff(table, axis=0) >= -1e-15).all()
        assert (np.diff(table, axis=1) >= -1e-15).all()


@pytest.mark.parametrize("name", DEVICES)
def test_more_rows_and_longer_chunks_never_cost_less_on_npu(name):
    device = DEVICES[name].compute
    rows = device.price(Gemm(4096, 4096, 16, 16), np.arange(1.0, 3000.0)).seconds
    assert (np.diff(rows) >= -1e-15).all()
    chunk, context = np.arange(1.0, 1500.0)[:, None], np.array([[0.0, 500.0, 9000.0]])
    table = device.price(PrefillAttention(32, 8, 128, 16, 16), chunk, context).seconds
    assert (np.diff(table, axis=1) >= -1e-15).all()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "p2p"]), st.integers(1, 16), st.floats(1, 1e7), st.integers(1, 4096))
def test_links_move_at_least_the_bytes_they_must(kind, ranks, row_bytes, rows):
    link = build(shipped("a100-80gb"), Parallelism()).link  # no reduction inside the switch
    size = rows * row_bytes
    time = seconds(link, Collective(kind, ranks, row_bytes), (rows,))
    once = (ranks - 1) / ranks
    share = {"all_reduce": 2 * once, "all_gather": once, "reduce_scatter": once, "all_to_all": once, "p2p": float(ranks > 1)}
    assert time >= share[kind] * size / link.bulk.bandwidth_bytes_per_s * (1 - 1e-9)
    assert (time == 0) == (ranks == 1)


def test_devices_refuse_operators_they_do_not_run():
    devices = DEVICES["npu-pim"]
    with pytest.raises(TypeError):
        devices.decode.price(Gemm(1, 1, 16, 16), np.ones(1))
    with pytest.raises(TypeError):
        devices.compute.price(Collective("p2p", 2, 1.0), np.ones(1))
    with pytest.raises(TypeError):
        devices.link.price(Gemm(1, 1, 16, 16), np.ones(1))


def test_fingerprints_tell_designs_apart_by_what_changes_prices():
    base = shipped("npu-pim")
    same = base.model_copy(update={"name": "other", "source": "elsewhere"})
    assert build(base, Parallelism()) == build(same, Parallelism())
    for section, change in (("npu", {"arrays": 9}), ("npu", {"clock_hz": 1.1e9}), ("memory", {"stacks": 5})):
        other = base.model_copy(update={section: getattr(base, section).model_copy(update=change)})
        assert build(other, Parallelism()).compute.fingerprint() != build(base, Parallelism()).compute.fingerprint()
    for change in ({"unit": "buffer"}, {"power_limited": False}, {"stacks_per_npu": 2.0}, {"mapping": "request"}):
        other = base.model_copy(update={"pim": base.pim.model_copy(update=change)})
        assert build(other, Parallelism()).decode.fingerprint() != build(base, Parallelism()).decode.fingerprint()
        assert build(other, Parallelism()).compute.fingerprint() == build(base, Parallelism()).compute.fingerprint()


def test_context_of_a_chunk_is_read_over_the_link_where_the_cache_is_pooled():
    local = shipped("npu-pim")
    pooled = local.model_copy(update={"pim": local.pim.model_copy(update={"placement": "pooled"})})
    op, axes = PrefillAttention(32, 8, 128, 16, 16), (64, 30_000)
    kv_bytes = (30_000 + 64) * 2 * 8 * 128 * 2
    found = build(pooled, Parallelism()).prefill.price(op, *(np.array([float(a)]) for a in axes))
    assert found.seconds[0] == pytest.approx(kv_bytes / 64e9, rel=0.01)
    assert Bound(found.bound[0]) is Bound.NETWORK
    assert seconds(build(local, Parallelism()).prefill, op, axes) < found.seconds[0]
