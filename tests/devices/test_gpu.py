"""GPU presets against measured GEMMs, and the shape of what they say."""

import csv
import gzip
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from simulator.design.records.hardware import Gpu
from simulator.design.records.serving import Parallelism
from simulator.devices.build import build
from simulator.devices.device import Bound
from simulator.model.operators import DecodeAttention, Gemm, PrefillAttention
from tests.devices.builders import shipped
from tests.shared import shared_file

PRESETS = {"a100_sxm": "a100-80gb", "h100_sxm": "h100-sxm"}
CALIBRATED = ("launch_s", "compute_efficiency", "memory_efficiency", "flops_per_l2_byte", "tile_overhead_s")


def device(name):
    return build(shipped(name), Parallelism()).compute


def gemm_errors(gpu, system):
    shapes = defaultdict(list)
    with gzip.open(shared_file("data/silicon/op_gemm_subset.csv.gz"), "rt") as file:
        for row in csv.DictReader(file):
            if row["system"] == system and row["gemm_dtype"] == "bfloat16":
                shapes[int(row["n"]), int(row["k"])].append((float(row["m"]), float(row["us"])))
    errors = []
    for (n, k), points in shapes.items():
        m, measured = np.array(points).T
        errors.extend(np.abs(gpu.price(Gemm(n, k, 16, 16), m).seconds * 1e6 / measured - 1))
    return np.array(errors)


@pytest.mark.parametrize("system", PRESETS)
def test_calibrated_gemms_are_within_eight_percent(system):
    errors = gemm_errors(device(PRESETS[system]), system)
    assert len(errors) > 5000
    assert errors.mean() <= 0.08


@pytest.mark.parametrize("system", PRESETS)
def test_default_constants_are_within_fifteen_percent(system):
    defaults = {name: Gpu.model_fields[name].default for name in CALIBRATED if name not in ("launch_s", "tile_overhead_s")}
    gpu = replace(device(PRESETS[system]), launch_s=device("b200").launch_s, **defaults)
    assert gemm_errors(gpu, system).mean() <= 0.15


@pytest.mark.parametrize(("system", "other"), [("a100_sxm", "h100-sxm"), ("h100_sxm", "a100-80gb")])
def test_constants_of_one_generation_foretell_the_other(system, other):
    """What a device that nobody measured may expect: its datasheet with another's constants."""
    constants = {name: getattr(device(other), name) for name in CALIBRATED}
    assert gemm_errors(replace(device(PRESETS[system]), **constants), system).mean() <= 0.16


@pytest.mark.parametrize("name", ["a100-80gb", "h100-sxm", "h200-sxm", "b200", "b300", "mi300x", "l40s", "rtx4090",
                                  "rtx-pro-6000", "rtx-a6000"])
def test_large_gemms_nearly_reach_the_achievable_share_of_the_peak_on_every_preset(name):
    gpu = device(name)
    seconds = gpu.price(Gemm(8192, 8192, 16, 16), np.array([8192.0])).seconds[0]
    assert 0.9 < 2 * 8192**3 / seconds / (gpu.peak_16bit * gpu.compute_efficiency) <= 1


@pytest.mark.parametrize(("name", "tflops"), [("a100-80gb", 271.2), ("h100-sxm", 794.5), ("b200", 1745.0), ("b300", 1769.0),
                                              ("mi300x", 668.4)])
def test_the_best_gemm_is_within_eight_percent_of_what_others_measured(name, tflops):
    """S. Bekman, ml-engineering: maximum achievable bf16 matmul FLOPS, best of many shapes under a lasting load."""
    m, n, k = np.meshgrid([1024.0, 2048.0, 4096.0, 12288.0], [5120, 10240, 16128, 18432], [1024, 4096, 8192, 13312])
    gpu = device(name)
    rates = [2 * a * b * c / gpu.price(Gemm(int(b), int(c), 16, 16), np.array([a])).seconds[0]
             for a, b, c in zip(m.flat, n.flat, k.flat, strict=True)]
    assert max(rates) / 1e12 == pytest.approx(tflops, rel=0.08)


def test_tiles_of_any_height_waste_less_on_rows_between_powers_of_two():
    """640 rows are five tiles of 128; 529 rows cost no more than three of 192 where tiles have any height, else as many."""
    shape, rows = Gemm(16384, 8192, 16, 16), np.array([529.0, 640.0])
    hopper = device("h100-sxm").price(shape, rows).seconds
    fixed = replace(device("h100-sxm"), any_tile_height=False).price(shape, rows).seconds
    assert fixed[0] == pytest.approx(fixed[1], rel=0.03)
    assert hopper[0] < 0.95 * fixed[0]
    assert (hopper <= fixed).all()


def test_small_batches_are_bound_by_memory_and_large_ones_by_compute():
    bound = device("h100-sxm").price(Gemm(8192, 8192, 16, 16), np.array([8.0, 8192.0])).bound
    assert [Bound(b) for b in bound] == [Bound.MEMORY, Bound.COMPUTE]


def test_eight_bit_gemms_pay_for_quantising_and_win_when_large():
    seconds = {bits: device("h100-sxm").price(Gemm(8192, 8192, bits, bits), np.array([1.0, 8192.0])).seconds
               for bits in (8, 16)}
    assert seconds[8][1] < 0.75 * seconds[16][1]
    assert seconds[8][0] > 0.5 * seconds[16][0]


def test_four_bit_weights_quarter_the_read_of_a_small_batch():
    h100, m = device("h100-sxm"), np.array([1.0])
    fixed = h100.launch_s + h100.tile_overhead_s
    four, sixteen = (h100.price(Gemm(8192, 8192, bits, 16), m).seconds[0] - fixed for bits in (4, 16))
    assert four / sixteen == pytest.approx(0.25, abs=0.01)


def test_decode_attention_reads_the_cache_once():
    h100 = device("h100-sxm")
    op, batch, context = DecodeAttention(32, 8, 128, 16, 16), np.array([64.0]), np.array([8192.0])
    kv_bytes = 64 * 8192 * 2 * 8 * 128 * 2
    reading_s = kv_bytes / (3.35e12 * h100.attention.decode_efficiency)
    assert 1.0 < h100.price(op, batch, context).seconds[0] / reading_s < 1.1


def test_few_heads_leave_a_short_chunk_to_few_multiprocessors():
    gpu, one = device("h100-sxm"), np.array([1024.0])
    many, few = (gpu.price(PrefillAttention(h, h, 128, 16, 16), one, np.zeros(1)).seconds[0] for h in (16, 1))
    assert few > many / 4  # far from a sixteenth: one head has eight blocks for 132 multiprocessors
