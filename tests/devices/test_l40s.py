"""L40S GEMMs whose operands do not fit L2, on the rows that its constants were not settled on (vLLM 0.24)."""

import csv
import gzip

import numpy as np
import pytest

from simulator.design.records.serving import Parallelism
from simulator.devices.build import build
from simulator.model.operators import Gemm
from tests.devices.builders import shipped
from tests.shared import shared_file


@pytest.mark.parametrize(("dtype", "bits"), [("bfloat16", 16), ("fp8", 8)])
def test_cold_gemms_that_were_held_out_are_within_12_percent(dtype, bits):
    with gzip.open(shared_file("data/silicon/op_gemm_l40s.csv.gz"), "rt", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["cold"] == "1" and r["gemm_dtype"] == dtype]
    rows.sort(key=lambda r: (int(r["n"]), int(r["k"]), int(r["m"])))
    device = build(shipped("l40s"), Parallelism()).compute
    off = [device.price(Gemm(int(r["n"]), int(r["k"]), bits, bits), np.array([float(r["m"])])).seconds[0] * 1e6 / float(r["us"]) - 1
           for r in rows[1::2]]
    assert len(off) > 100
    assert np.abs(off).mean() < 0.12
