"""Experts side by side: how many wake, and what they cost."""

import numpy as np
import pytest

from simulator.design.load import load_hardware
from simulator.design.records.serving import Parallelism
from simulator.devices.build import build
from simulator.devices.experts import WithExperts, awake
from simulator.devices.roofline import roofline_s
from simulator.model.operators import Gemm, GroupedGemm

QWEN = GroupedGemm(n=1536, k=2048, experts=128, of=128, per_token=8, weight_bits=16, activation_bits=16)
ROWS = np.array([1.0, 2, 3, 8, 17, 64, 300, 2048])


def test_experts_awake_are_those_of_a_random_router():
    rng = np.random.default_rng(5)
    for tokens in (1, 4, 20, 100):
        seen = [len(np.unique(np.concatenate([rng.choice(128, 8, replace=False) for _ in range(tokens)]))) for _ in range(200)]
        assert awake(QWEN, np.array([float(tokens)]))[0] == pytest.approx(np.mean(seen), rel=0.02)


def test_a_router_with_favourites_wakes_the_experts_that_gamma_distributed_popularity_gives():
    rng = np.random.default_rng(5)
    habits = GroupedGemm(n=1536, k=2048, experts=128, of=128, per_token=8, weight_bits=16, activation_bits=16, evenness=1.75)
    for tokens in (4, 32, 128):
        rate = rng.gamma(1.75, 1 / 1.75, (4000, 128)) * 8 / 128 * tokens  # visits of an expert are Poisson of that mean
        assert awake(habits, np.array([float(tokens)]))[0] == pytest.approx((rng.poisson(rate) > 0).sum(1).mean(), rel=0.01)
    assert awake(habits, np.array([1.0]))[0] == 8  # one token always wakes those it picks
    assert (awake(habits, ROWS) <= awake(QWEN, ROWS)).all()


@pytest.mark.parametrize("name", ["h100-sxm", "npu-base"])
def test_all_experts_for_every_token_are_one_wide_gemm(name):
    device = build(load_hardware(name, {}), Parallelism()).compute
    everything = GroupedGemm(n=512, k=1024, experts=4, of=4, per_token=4, weight_bits=16, activation_bits=16)
    wide = device.price(Gemm(4 * 512, 1024, 16, 16), ROWS)
    assert WithExperts(device).price(everything, ROWS).seconds == pytest.approx(wide.seconds)


@pytest.mark.parametrize("name", ["h100-sxm", "npu-base"])
def test_no_mixture_beats_its_roofline_and_more_tokens_never_cost_less(name):
    hardware = load_hardware(name, {})
    rows = np.arange(1.0, 300.0)
    seconds = WithExperts(build(hardware, Parallelism()).compute).price(QWEN, rows).seconds
    assert (seconds >= roofline_s(hardware, QWEN, rows)).all()
    assert (np.diff(seconds) > -1e-3 * seconds[:-1]).all()


def test_half_the_experts_on_each_rank_are_half_the_work():
    half = GroupedGemm(n=1536, k=2048, experts=64, of=128, per_token=8, weight_bits=16, activation_bits=16)
    assert awake(half, ROWS) == pytest.approx(awake(QWEN, ROWS) / 2)
