import numpy as np

from simulator.devices.measured.bind import gpu_peaks
from simulator.devices.measured.check import check
from simulator.devices.measured.table import from_columns
from tests.devices.measured.bundles import device, table


def gemm(rows, seconds):
    count = len(rows)
    return from_columns({"kind": np.full(count, "gemm"), "n": np.full(count, 4096), "k": np.full(count, 4096),
                         "weight_bits": np.full(count, 16), "activation_bits": np.full(count, 16),
                         "rows": np.array(rows), "seconds": np.array(seconds)}, {})


def limits():
    return gpu_peaks(device("RTX4090").fallback)


def test_the_recorded_tables_pass_but_for_one_row_that_beats_its_dram():
    findings = check(table("RTX4090"), limits())
    assert [(f.check, f.kind, f.count) for f in findings] == [("below roofline", "decode_attention", 1)]
    # 16,384 tokens x 4,096 B in 56.6 us are 1,186 GB/s of 1,008
    assert "sequences=1, decode_context=16384" in findings[0].example


def test_weights_cannot_be_read_faster_than_dram():
    found = check(gemm([1, 16], [10e-6, 40e-6]), limits())  # 33.5 MB in 10 us: 3.4 TB/s
    assert [(f.check, f.count) for f in found] == [("below roofline", 1)]


def test_a_unit_mistaken_a_repeated_row_and_a_spike_are_told():
    assert {f.check for f in check(gemm([1, 2], [40.0, 41.0]), limits())} == {"units"}  # microseconds as seconds
    assert {f.check for f in check(gemm([1, 1, 2], [40e-6, 42e-6, 41e-6]), limits())} == {"duplicates"}
    assert {f.check for f in check(gemm([1, 2, 3], [40e-6, 90e-6, 41e-6]), limits())} == {"spikes"}
