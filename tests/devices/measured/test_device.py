"""Prices from the recorded tables of an RTX 4090 and an RTX PRO 6000 (shared data)."""

import csv

import numpy as np
import pytest

from simulator.devices import roofline
from simulator.devices.device import Fidelity
from simulator.model.operators import Gemm
from tests.devices.measured.bundles import device, operator, table
from tests.shared import shared_file

GPUS = ("RTX4090", "RTXPRO6000")


def recorded(gpu, file):
    with shared_file(f"data/llmservingsim_tables/{gpu}/Llama-3.1-8B/tp1/{file}").open(newline="") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize(("layer", "name"), [("qkv_proj", "qkv"), ("gate_up_proj", "gate_up"), ("o_proj", "output"),
                                             ("layernorm", "attention_norm"), ("act_fn", "activation")])
def test_a_measured_point_costs_what_was_measured(gpu, layer, name):
    rows = [r for r in recorded(gpu, "dense.csv") if r["layer"] == layer]
    tokens = np.array([float(r["tokens"]) for r in rows])
    priced = device(gpu).price(operator(gpu, name), tokens).seconds
    measured = np.array([float(r["time_us"]) for r in rows]) * 1e-6
    assert np.median(np.abs(priced / measured - 1)) < 1e-9
    assert priced == pytest.approx(measured, rel=0.011)  # boards clock up to 1 % above the datasheet's boost: the floor binds


@pytest.mark.parametrize("gpu", GPUS)
def test_measured_attention_is_reproduced(gpu):
    rows = recorded(gpu, "attention.csv")
    for name, kind, axes in (("prefill_attention", "n_decode", ("prefill_chunk", "kv_prefill")),
                             ("decode_attention", "prefill_chunk", ("n_decode", "kv_decode"))):
        chosen = [r for r in rows if r[kind] == "0"]
        found = [float(device(gpu).price(operator(gpu, name), *(np.array([float(r[a])]) for a in axes)).seconds.item())
                 for r in chosen]
        off = np.array(found) / [float(r["time_us"]) * 1e-6 for r in chosen] - 1
        assert np.median(np.abs(off)) < 1e-9
        assert np.abs(off).max() < 0.2  # one row of the RTX 4090 beats its DRAM: it is lifted to the roofline


def test_between_two_measured_counts_a_gemm_costs_what_its_next_tile_costs():
    found = device("RTX4090").price(operator("RTX4090", "gate_up"), np.array([513.0, 520.0, 528.0])).seconds
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("name", ["gate_up", "activation"])
def test_beyond_the_table_the_efficiency_of_its_last_point_is_held(name):
    one, op = device("RTXPRO6000"), operator("RTXPRO6000", name)
    rows = np.array([2048.0, 8192.0])
    ideal, _ = roofline.nominal(op, one.peaks, *[rows])
    start = 0.0 if isinstance(op, Gemm) else table("RTXPRO6000").points("vector", ("activation", 14336)).seconds.min()
    seconds = one.price(op, rows).seconds
    assert seconds[1] / seconds[0] == pytest.approx((start + ideal[1]) / (start + ideal[0]))


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("name", ["qkv", "gate_up", "down", "lm_head", "prefill_attention", "decode_attention"])
def test_nothing_is_priced_below_the_roofline(gpu, name):
    op, one = operator(gpu, name), device(gpu)
    grid = np.unique(np.geomspace(1, 16384, 60).round())
    axes = (grid[:, None], grid[None, :]) if name.endswith("attention") else (grid,)
    assert (one.price(op, *axes).seconds >= roofline.floor(op, one.peaks, *axes) * (1 - 1e-12)).all()


def test_what_the_table_lacks_is_priced_by_the_datasheet_and_says_so():
    one, other = device("RTX4090"), Gemm(n=1000, k=1000, weight_bits=16, activation_bits=16)
    priced = one.price(other, np.array([1.0, 100.0]))
    assert (priced.seconds == one.fallback.price(other, np.array([1.0, 100.0])).seconds).all()
    assert priced.fidelity == Fidelity.ANALYTIC or priced.fidelity == Fidelity.CALIBRATED


def test_fidelity_says_whether_shapes_lie_inside_the_table():
    one, op = device("RTX4090"), operator("RTX4090", "qkv")
    assert one.price(op, np.array([17.0, 700.0])).fidelity == Fidelity.INTERPOLATED
    assert one.price(op, np.array([4096.0, 8192.0])).fidelity == Fidelity.CALIBRATED


def test_the_cache_write_is_inside_the_measured_attention():
    one, op = device("RTX4090"), operator("RTX4090", "kv_cache_write")
    assert (one.price(op, np.array([1.0, 2048.0])).seconds == 0).all()
