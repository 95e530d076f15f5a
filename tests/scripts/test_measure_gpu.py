"""The script that measures a GPU: what it plans, what presets say of it, how power is read. It has met no GPU yet."""

import importlib.util
import subprocess
import sys
import time
from collections import Counter
from unittest.mock import MagicMock

import pytest

from scripts.measure_gpu import NVIDIA_SMI, SERVING, PowerMeter, cases, launches, loads, longest_s
from scripts.shipped_hardware import preset
from simulator.design.load import resolve
from tests.shared import ROOT

TORCH = importlib.util.find_spec("torch") is not None
ARCH = resolve({"model": "llama-3.1-8b", "hardware": "h100-sxm", "workload": "chat-200"}).model


def test_it_ends_within_ten_minutes():
    assert longest_s(SERVING) < 300


def test_every_kind_is_planned_and_the_preset_has_a_time_for_it():
    planned = list(cases(None, ARCH, preset("h200-sxm"), SERVING, "cuda"))
    assert Counter(case.kind for case in planned) == {"gemm_bf16": 28, "gemm_fp8": 28, "decode": 6, "prefill": 5, "greedy": 3, "top_p": 3}
    assert all(case.predicted_s is not None and 1e-6 < case.predicted_s < 0.1 for case in planned if case.kind not in ("greedy", "top_p"))
    at = {(case.kind, case.shape): case.predicted_s for case in planned}
    # 2 x 8192 x 4096 x 28672 FLOP at 834 of 989 TFLOP/s in bf16, at 67 % of 1,979 in fp8, without the kernel that quantises
    flops = 2 * 8192 * 4096 * 28672
    assert at["gemm_bf16", "gate_up 8192"] == pytest.approx(flops / (0.834 * 989.4e12), rel=0.05)
    assert at["gemm_fp8", "gate_up 8192"] == pytest.approx(flops / (0.67 * 1978.9e12), rel=0.08)
    [launch] = launches(MagicMock(), preset("h200-sxm"), "cuda")
    assert launch.predicted_s == pytest.approx(200 * 1.79e-6)


def test_power_that_a_preset_says():
    """H100: 122 W idle; 252 W and 13 pJ a bit of 2.73 TB/s in streams; its limit at 825 TFLOP/s of bf16."""
    said = {name: watts for name, _, watts in loads(MagicMock(), preset("h100-sxm"), SERVING)}
    assert said["idle"](0.0) == pytest.approx(121.7)
    assert said["memory"](2.73e12 / (4 << 30)) == pytest.approx(251.7 + 2.73 * 8 * 13, rel=0.02)
    products = 2 * 8192**3
    assert said["gemm_bf16"](825e12 / products) == pytest.approx(700, rel=0.01)
    assert said["gemm_bf16"](2000e12 / products) == 700
    assert said["gemm_fp8"](1326e12 / products) == pytest.approx(700, rel=0.01)


def test_power_is_the_mean_of_the_samples_since_it_was_cleared():
    meter = PowerMeter(("sh", "-c", "echo 900; sleep 0.5; echo 100; echo '[N/A]'; echo 200; sleep 5"))
    try:
        _until(lambda: meter.mean == 900)
        meter.clear()
        assert meter.mean is None
        _until(lambda: meter.mean == 150)
    finally:
        meter.close()
    assert NVIDIA_SMI[0] == "nvidia-smi"


def test_it_runs_on_a_cpu_or_says_what_is_missing():
    done = subprocess.run([sys.executable, str(ROOT / "scripts/measure_gpu.py"), "--hardware", "h200-sxm", *(["--device", "cpu"] * TORCH)],
                          capture_output=True, text=True, check=False)
    if TORCH:
        assert done.returncode == 0 and "gate_up 4" in done.stdout and "top_p" in done.stdout
    else:
        assert done.returncode == 2 and "PyTorch is not installed" in done.stderr


def _until(met):
    end = time.monotonic() + 10
    while not met():
        assert time.monotonic() < end
        time.sleep(0.01)
