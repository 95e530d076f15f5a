"""PIM devices: mappings, pooling, GQA and the link, by what must follow from the timing model."""

import numpy as np
import pytest

from simulator.design.records.hardware import Pim
from simulator.design.records.serving import Parallelism
from simulator.devices.build import build
from simulator.devices.pim_timing import TIMINGS, attention_cycles
from simulator.model.operators import DecodeAttention
from tests.devices.builders import shipped

MHA = DecodeAttention(32, 32, 128, 16, 16)


def hardware(**changes):
    base = shipped("npu-pim")
    return base.model_copy(update={"pim": base.pim.model_copy(update=changes)})


def seconds(device, op, sequences, context):
    return device.price(op, np.array([float(sequences)]), np.array([float(context)])).seconds[0]


def test_one_full_stack_takes_the_time_of_the_timing_model():
    device = build(hardware(stacks_per_npu=1.0), Parallelism()).decode
    part = TIMINGS["HBM3"]
    cycles = attention_cycles(part, "bank", power_limited=True, heads=np.array([512.0]), context=np.array([4096.0]),
                              head_dim=128, element_bytes=2)[0]
    assert seconds(device, MHA, 16, 4096) == pytest.approx(cycles * part.clock_s, rel=0.02)


def test_bank_level_pim_beats_its_own_pins_many_times_over():
    device = build(hardware(stacks_per_npu=1.0), Parallelism()).decode
    kv_bytes = 64 * 2048 * 2 * 32 * 128 * 2
    assert 4 < kv_bytes / seconds(device, MHA, 64, 2048) / 665.6e9 < 9  # AttAcc: 8.1 power-limited, sequential softmax hidden


def test_units_further_from_the_cells_are_slower():
    times = [seconds(build(hardware(unit=unit), Parallelism()).decode, MHA, 64, 2048)
             for unit in ("bank", "bank_group", "buffer")]
    assert times == sorted(times)
    assert times[2] > 4 * times[0]


def test_the_power_limit_costs_what_its_spacing_says():
    free, limited = (seconds(build(hardware(power_limited=flag), Parallelism()).decode, MHA, 64, 8192)
                     for flag in (False, True))
    assert 1.25 < limited / free < 1.5  # 4 to 6 cycles between MAC commands, row openings unchanged


def test_finer_mapping_never_loses_to_whole_requests_on_small_batches():
    request, head, sequence = (seconds(build(hardware(mapping=m), Parallelism()).decode, MHA, 3, 8192)
                               for m in ("request", "head", "sequence"))
    assert sequence < head < request
    assert request / head == pytest.approx(32 / 2, rel=0.05)  # 96 heads on 64 channels against 32 on one


def test_a_pool_serves_the_ranks_together():
    gqa = DecodeAttention(8, 2, 128, 16, 16)  # one of four ranks of an 8-KV-head model
    own, pool = (build(hardware(placement=p, link_bandwidth_bytes_per_s=1e15, link_latency_s=0.0, stacks_per_npu=0.75
                                if p == "pooled" else 1.0), Parallelism(tensor=4)).decode for p in ("local", "pooled"))
    assert own.channels == 16
    assert pool.channels == 12
    assert seconds(pool, gqa, 6, 4096) == pytest.approx(seconds(own, gqa, 6, 4096), rel=0.01)  # 48 heads on 48 channels


def test_a_slow_link_shows_for_every_request():
    slow, fast = (build(hardware(placement="pooled", link_bandwidth_bytes_per_s=bw), Parallelism()).decode
                  for bw in (10e9, 1e15))
    request_bytes = 4096 * (2 + 2 + 2 + 2)  # query, key, value, result of 32 heads of 128
    gap = seconds(slow, MHA, 100, 1024) - seconds(fast, MHA, 100, 1024)
    assert gap == pytest.approx(100 * request_bytes / 10e9, rel=1e-3)


@pytest.mark.parametrize("placement", ["local", "pooled"])
def test_channel_costs_add_up_to_the_price_of_evenly_dealt_requests(placement):
    devices = build(hardware(mapping="request", placement=placement), Parallelism())
    channels, request_s, token_s = devices.channel_costs(MHA)
    assert channels == 64
    even = 2 * (request_s + token_s * 3000) + devices.decode.fixed_seconds()
    assert seconds(devices.decode, MHA, 128, 3000) == pytest.approx(even, rel=1e-9)
    assert build(hardware(mapping="head"), Parallelism()).channel_costs is None


def test_newton_style_commands_give_neupims_attention():
    # NeuPIMs: 128 requests of 1,536 tokens over 32 HBM2 channels, 8 heads of 128: 197,642 cycles of 1 ns
    device = build(hardware(kind="HBM2", mapping="request", commands="newton"), Parallelism()).decode
    assert device.channels == 32
    cycles = (seconds(device, DecodeAttention(8, 8, 128, 16, 16), 128, 1536) - device.fixed_seconds()) * 1e9
    # 1,536 is the foot of a step (rows of 512 tokens); the price is of the middle of the staircase, half a step higher
    assert 1.0 < cycles / 197_642 < 1.0 + 0.5 * 512 / 1536


def test_newton_style_needs_what_neupims_has():
    with pytest.raises(ValueError, match="mapping request"):
        Pim(placement="local", commands="newton")
