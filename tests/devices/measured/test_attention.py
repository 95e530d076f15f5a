"""Mixed batches: a chunk alone plus what decodes add must be the measured joint time."""

import csv

import numpy as np
import pytest

from simulator.devices.measured.attention import extras
from tests.devices.measured.bundles import device, operator
from tests.shared import shared_file

CONTEXTS = np.array([0.0, 16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384])


@pytest.mark.parametrize("gpu", ["RTX4090", "RTXPRO6000"])
def test_chunk_alone_plus_decodes_beside_it_is_the_joint_time(gpu):
    one = device(gpu)
    prefill, decode = operator(gpu, "prefill_attention"), operator(gpu, "decode_attention")
    found = extras(one, prefill, decode, 256, CONTEXTS)
    with shared_file(f"data/llmservingsim_tables/{gpu}/Llama-3.1-8B/tp1/attention.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if int(r["prefill_chunk"]) in (128, 512, 2048) and int(r["n_decode"]) in (8, 32, 128)
                and int(r["kv_decode"]) in CONTEXTS and int(r["kv_prefill"]) in (0, 128, 512, 1024)]
    off = []
    for r in rows:
        alone = one.price(prefill, np.array([float(r["prefill_chunk"])]), np.array([float(r["kv_prefill"])])).seconds.item()
        c = int(np.flatnonzero(found.chunk_knots == int(r["prefill_chunk"]))[0])
        beside = found.beside_s[c, int(r["n_decode"]), int(np.flatnonzero(int(r["kv_decode"]) == CONTEXTS)[0])]
        off.append((alone + beside) / (float(r["time_us"]) * 1e-6) - 1)
    assert len(off) > 100
    assert np.abs(off).mean() < 0.03
    assert np.percentile(np.abs(off), 95) < 0.10


def test_decodes_cost_more_beside_a_chunk_and_a_longer_one_costs_most():
    one = device("RTX4090")
    found = extras(one, operator("RTX4090", "prefill_attention"), operator("RTX4090", "decode_attention"), 128, CONTEXTS)
    alone = one.price(operator("RTX4090", "decode_attention"), np.array([128.0]), np.array([1024.0])).seconds.item()
    at = int(np.flatnonzero(CONTEXTS == 1024)[0])
    assert alone < found.beside_s[0, 128, at] < found.beside_s[-1, 128, at]
    assert (found.beside_s[:, 0] == 0).all()


def test_beyond_the_measured_batches_time_grows_with_the_work():
    found = extras(device("RTX4090"), operator("RTX4090", "prefill_attention"), operator("RTX4090", "decode_attention"), 512,
                   CONTEXTS)
    at = int(np.flatnonzero(CONTEXTS == 4096)[0])
    assert found.beside_s[0, 512, at] == pytest.approx(2 * found.beside_s[0, 256, at], rel=0.01)


def test_one_decode_has_no_spread_and_uneven_batches_cost_no_less():
    found = extras(device("RTX4090"), operator("RTX4090", "prefill_attention"), operator("RTX4090", "decode_attention"), 256,
                   CONTEXTS)
    assert found.spread_s[1] == 0 and (found.spread_s >= 0).all() and found.spread_s[64] > 0
