"""Bounds against simulations: never worse than what happens, over random designs of every kind of device."""

import math
import random
import sys
import tomllib

import numpy as np
import pytest

from simulator.analysis.bounds import bounds
from simulator.design.load import CONFIGS, load_design
from simulator.inputs.errors import InputError
from simulator.prepare import violations as static_violations
from simulator.pricing.cache import CostCache
from simulator.pricing.price import price
from simulator.result import Infeasible
from simulator.results.metrics import METRICS
from simulator.simulate import serve
from simulator.workload.load import load_trace
from simulator.workload.trace import Trace
from tests.devices.measured import bundles

CACHE = CostCache()
KINDS = {
    "npu": {"hardware": ["npu-base"], "hardware.npu.array": [[64, 64], [256, 256]], "hardware.npu.arrays": [2, 8],
            "hardware.npu.dataflow": ["weight_stationary", "output_stationary"]},
    "pim": {"hardware": ["npu-pim"], "hardware.pim.placement": ["local", "pooled"], "hardware.pim.stacks_per_npu": [1, 4],
            "hardware.pim.sub_batches": ["never", "always", "auto"], "hardware.pim.mapping": ["head", "request"],
            "hardware.pim.unit": ["bank", "buffer"]},
    "shared pim": {"hardware": ["neupims"], "hardware.pim.sub_batches": ["never", "always", "auto"],
                   "hardware.pim.mapping": ["request", "head"]},
    "gpu": {"hardware": ["a100-80gb", "h100-sxm", "mi300x", "rtx4090", "tpu-v5e"], "serving.cuda_graphs": [True, False]},
}
COMMON = {
    "parallelism.tensor": [1, 2, 4], "parallelism.pipeline": [1, 1, 2], "parallelism.replicas": [1, 2],
    "precision.weights": ["bf16", "fp8"], "precision.kv": ["bf16", "fp8"], "model": ["llama-3.1-8b", "opt-6.7b"],
    "serving.max_num_seqs": [4, 32, 256], "serving.max_num_batched_tokens": [256, 2048, 16384],
    "serving.async_scheduling": [False, False, True], "serving.enable_prefix_caching": [False, False, True],
    "serving.num_gpu_blocks": ["auto", "auto", 150], "serving.preemption": ["recompute", "swap"],
    "serving.max_model_len": ["auto", 2000], "workload.rate": ["1 requests/s", "30 requests/s", "1000 requests/s"],
    "workload.requests": [1, 7, 60], "slo": [{}, {"ttft": "50 ms", "tpot": "8 ms"}, {"e2e": "2 s"}],
    "slo.allow_rejected": [1.0],
    "costs": ["default"],
}


def checked(design, trace=None, table=None):
    """Whether the design could be simulated; every metric must lie in its interval then."""
    if static_violations(design):
        return False
    trace = load_trace(design.workload) if trace is None else trace
    priced = price(design, CACHE, table)
    try:
        metrics = serve(design, priced, trace).metrics
    except Infeasible:
        return False
    found = bounds(design, priced, trace)
    assert set(found) == set(METRICS)
    for name, value in metrics.items():
        low, high = found[name]
        assert low <= value <= high, f"{name} is {value}, outside {low}..{high}: {design}"
    return True


def drawn(kind, rng):
    options = {**COMMON, **KINDS[kind]}
    said = {key: rng.choice(values) for key, values in options.items() if key not in ("hardware", "model")}
    said |= {"hardware": rng.choice(options["hardware"]), "model": rng.choice(options["model"]),
             "workload": rng.choice(["chat-1k", "chat-1k", "long-context"])}
    if said["workload"] == "long-context":
        said.pop("workload.rate")
        said["model"] = "llama-3.1-8b"
    return load_design("npu-chat", said)


@pytest.mark.parametrize("kind", KINDS)
def test_no_design_is_better_than_its_bounds(kind):
    rng = random.Random(f"bounds of {kind}")
    simulated = 0
    for _ in range(300):
        try:
            simulated += checked(drawn(kind, rng))
        except InputError:  # an impossible combination
            continue
        if simulated == 90:
            break
    assert simulated >= 60


@pytest.mark.parametrize("gpu", bundles.PRESETS)
def test_measured_tables(gpu):
    rng = random.Random(1)
    for _ in range(6):
        serving = {"max_num_seqs": rng.choice([8, 128]), "max_num_batched_tokens": rng.choice([256, 2048])}
        design = bundles.design(gpu)
        design = design.model_copy(update={"serving": design.serving.model_copy(update=serving)})
        assert checked(design, table=bundles.table(gpu))


def test_a_plugged_in_device(tmp_path, monkeypatch):
    folder = CONFIGS.parent / "examples" / "devices"
    info = tmp_path / "my_devices-1.0.dist-info"
    info.mkdir()
    points = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]["llm_serving_sweeper.devices"]
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-devices\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "\n".join(["[llm_serving_sweeper.devices]", *(f"{name} = {target}" for name, target in points.items())]) + "\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.syspath_prepend(str(tmp_path))
    for tensor in (1, 2):
        assert checked(load_design("npu-chat", {"hardware": str(folder / "dataflow-chip.yaml"), "workload": "chat-200",
                                                "parallelism.tensor": tensor}))
    for name in [n for n in sys.modules if n.startswith("my_devices")]:
        del sys.modules[name]


def test_traces_of_single_tokens_and_of_one_chunk_after_another():
    """One-token prompts are priced as decodes, one-token outputs have no decodes."""
    design = load_design("npu-chat", {"serving.max_num_batched_tokens": 256})
    for prompt, output in ((1, 1), (1, 50), (257, 1), (513, 2)):
        trace = Trace(np.zeros(40, np.int64), np.full(40, prompt, np.int32), np.full(40, output, np.int32))
        assert checked(design, trace)


def test_bounds_are_near_what_a_saturated_offline_batch_reaches():
    """Not only right but useful: a decode-bound batch runs within a third of its ceiling."""
    design = load_design("npu-chat")
    trace = Trace(np.zeros(2000, np.int64), np.full(2000, 500, np.int32), np.full(2000, 200, np.int32))
    priced = price(design, CACHE)
    reached = serve(design, priced, trace).metrics["output_throughput"]
    ceiling = bounds(design, priced, trace)["output_throughput"][1]
    assert reached <= ceiling < 1.33 * reached
    assert not math.isinf(ceiling)
