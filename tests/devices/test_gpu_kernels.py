"""Kernels with six constants: counts by hand, and what they must never do."""

import numpy as np
import pytest

from simulator.design.load import load_hardware
from simulator.design.records.serving import Parallelism
from simulator.devices.build import build
from simulator.devices.experts import load_of
from simulator.devices.gpu_kernels import stream_kind, stream_work, tile_format
from simulator.devices.kernel_constants import kernels
from simulator.devices.roofline import roofline_s
from simulator.inputs.errors import InputError
from simulator.model.operators import (
    DecodeAttention,
    DecodeState,
    ExpertBlock,
    Gemm,
    PrefillAttention,
    PrefillState,
    seen_keys,
    seen_pairs,
)


def shipped(name):
    return build(load_hardware(name, {}), Parallelism()).compute


MLA = DecodeAttention(16, 1, 576, 16, 16, value_dim=512, one_vector=True)
WINDOW = DecodeAttention(8, 2, 64, 16, 16, span=128)


def at(*values):
    return tuple(np.array([float(value)]) for value in values)


def test_a_latent_decode_reads_one_vector_of_576_values_a_token():
    work = stream_work(MLA, at(4, 1000), sms=132)
    queries = 16 * (576 + 512) * 2
    assert work.bytes[0] == 4 * (1000 * 576 * 2 + queries)
    assert work.flops[0] == 4 * 1000 * 16 * 2 * (576 + 512)


def test_pairs_of_windows_and_runs_by_hand():
    """Windows of 3: tokens 1..5 see 1, 2, 3, 3, 3. Runs of 3: 1, 2, 3, 1, 2."""
    window = PrefillAttention(1, 1, 64, 16, 16, span=3)
    runs = PrefillAttention(1, 1, 64, 16, 16, span=3, chunked=True)
    assert seen_pairs(window, *at(5, 0))[0] == 12
    assert seen_pairs(window, *at(2, 3))[0] == 6
    assert seen_pairs(runs, *at(5, 0))[0] == 9
    assert seen_pairs(runs, *at(2, 3))[0] == 3
    picked = PrefillAttention(1, 1, 64, 16, 16, top_k=2, value_dim=64, one_vector=True)
    assert seen_pairs(picked, *at(5, 0))[0] == 1 + 2 * 4


def test_a_window_costs_the_same_once_it_is_full():
    assert seen_keys(WINDOW, np.array([100.0, 128.0, 9000.0])).tolist() == [100, 128, 128]
    device = shipped("h100-sxm")
    seconds = device.price(WINDOW, np.full(3, 8.0), np.array([128.0, 4096.0, 131072.0])).seconds
    assert len(set(seconds.tolist())) == 1


def test_a_state_costs_the_same_at_any_context():
    decode = DecodeState("gated_delta_net", 32, 128, 128, 16, 32)
    work = stream_work(decode, at(1, 5), sms=132)
    assert work.bytes[0] == 2 * 32 * 128 * 128 * 4 + 2 * (2 * 16 * 128 + 2 * 32 * 128)
    for name in ("h100-sxm", "b200", "l40s"):
        seconds = shipped(name).price(decode, np.full(2, 64.0), np.array([10.0, 1e5])).seconds
        assert seconds[0] == seconds[1]


@pytest.mark.parametrize("name", ["h100-sxm", "b200", "a100-80gb"])
def test_no_kernel_beats_its_roofline(name):
    hardware = load_hardware(name, {})
    device = shipped(name)
    for operator, axes in (
            (MLA, at(64, 4000)), (WINDOW, at(256, 4000)), (Gemm(7168, 2048, 4, 4, "nvfp4"), at(64)),
            (Gemm(7168, 2048, 8, 8, "fp8_block"), at(4096)), (DecodeState("kda", 96, 128, 128, 96, 32), at(64, 0)),
            (PrefillState("kda", 96, 128, 128, 96, 32), at(2048, 0)),
            (ExpertBlock(7168, 2048, True, 256, 256, 8, 8, 8, scales="fp8_block"), at(64)),
            (PrefillAttention(16, 16, 192, 16, 16, value_dim=128, expands=512 * 256), at(2048, 2048))):
        assert device.price(operator, *axes).seconds[0] >= roofline_s(hardware, operator, *axes)[0] * (1 - 1e-12), operator


def test_the_busiest_rank_gets_more_than_its_share():
    whole = ExpertBlock(64, 64, True, 128, 128, 8, 16, 16, evenness=2.0)
    eighth = ExpertBlock(64, 64, True, 16, 128, 8, 16, 16, evenness=2.0)
    rows = np.array([64.0])
    assert load_of(whole, rows).visits[0] == pytest.approx(64 * 8)
    mean = 64 * 8 / 8
    assert mean * 1.2 < load_of(eighth, rows).visits[0] < mean * 3


def test_formats_and_kinds_name_kernels():
    assert tile_format(Gemm(1, 1, 4, 16, "nvfp4")) == "w4a16"
    assert tile_format(Gemm(1, 1, 4, 4, "mxfp4")) == "mxfp4"
    assert stream_kind(MLA) == "latent_decode"
    assert stream_kind(DecodeAttention(32, 8, 128, 16, 16)) is None


def test_a_kind_without_a_kernel_takes_another_framework_s_or_is_refused():
    known = kernels("sm90", "trtllm")
    assert known.stream("window_decode", "bf16").framework != "trtllm"  # its own is loose
    assert known.stream("mamba2_prefill", "").kind == "gated_delta_net_prefill"
    with pytest.raises(InputError, match="no kernel of kind"):
        known.stream("telepathy", "")
    with pytest.raises(InputError, match="no kernel table 'sm9'"):
        kernels("sm9", "vllm")
