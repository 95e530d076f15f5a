"""Systolic cycles: SCALE-Sim's to the cycle when folds are not pipelined; pipelined folds by hand."""

import numpy as np
import pytest

from simulator.devices.systolic import gemm_cycles
from tests.shared import shared_rows

DATAFLOW = {"os": "output_stationary", "ws": "weight_stationary", "is": "input_stationary"}


@pytest.mark.parametrize(("file", "column"), [("scalesim_gemm_cycles.csv", "total_cycles"),
                                              ("scalesim_validation.csv", "scalesim_total_cycles")])
def test_unpipelined_cycles_are_those_of_scalesim(file, column):
    rows = shared_rows(f"data/hardware/{file}")
    assert len(rows) > 100
    for row in rows:
        m, n, k, r, c = (int(row[key]) for key in ("M", "N", "K", "array_rows", "array_cols"))
        cycles = gemm_cycles(np.array([float(m)]), n, k, r, c, DATAFLOW[row["dataflow"]], pipelined=False)
        assert cycles[0] - 1 == int(row[column]), row  # SCALE-Sim prints the index of the last cycle


def test_pipelined_weight_stationary_folds_cost_at_least_the_preload():
    # 2 x 2 tiles of weights; 10 rows stream in the 128 cycles that the next tile needs to load
    assert gemm_cycles(np.array([10.0]), 256, 256, 128, 128, "weight_stationary", pipelined=True)[0] == 4 * 128 + 254
    assert gemm_cycles(np.array([500.0]), 256, 256, 128, 128, "weight_stationary", pipelined=True)[0] == 4 * 500 + 254


def test_pipelined_output_stationary_has_no_preload_floor():
    assert gemm_cycles(np.array([10.0]), 256, 64, 128, 128, "output_stationary", pipelined=True)[0] == 2 * 64 + 254


def test_pipelining_never_slows_and_a_single_fold_gains_only_overlap():
    m = np.arange(1.0, 600.0)
    for dataflow in DATAFLOW.values():
        serial = gemm_cycles(m, 300, 200, 64, 32, dataflow, pipelined=False)
        assert (gemm_cycles(m, 300, 200, 64, 32, dataflow, pipelined=True) <= serial).all()


def test_several_arrays_share_folds_or_rows():
    # one fold of many rows: rows are shared; many folds of one row: folds are
    one = gemm_cycles(np.array([4096.0]), 128, 128, 128, 128, "weight_stationary", pipelined=True)
    four = gemm_cycles(np.array([4096.0]), 128, 128, 128, 128, "weight_stationary", pipelined=True, arrays=4)
    assert four[0] - 254 == (one[0] - 254) / 4
    folds = gemm_cycles(np.array([1.0]), 4096, 4096, 128, 128, "weight_stationary", pipelined=True, arrays=8)
    assert folds[0] == 1024 / 8 * 128 + 254
