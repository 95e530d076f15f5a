"""Compares board power, energy per token and inter-token latency with serving runs whose power was measured.

    python scripts/validate_power.py FILE [--json FILE]

`power_at_measured_rate` takes the simulated energy of kernels per token at the rate of tokens that was measured, with idle power:
the energy model alone, whatever the simulated step times are.

FILE: CSV (or .csv.gz) with a row per model, task, GPU and batch size: model, task, prec, max_num_seqs, avg_batch_size,
avg_output_len, avg_power_watts (all GPUs, servers apart), energy_per_token_joules, median_itl_ms, gpu_model, num_gpus,
parallelization. Rows of batches of 8 to 512 are judged. A model, precision, GPU or split that cannot be written as a
design is counted, never guessed.

The harness: vLLM 0.11 in steady state with as many clients as slots. Prompt lengths are not published. H100's active power,
prompts of the chat task and what sampling takes were settled on every second H100 row; `held_out` rows are the others.
"""

from __future__ import annotations

import argparse
import ast
import csv
import gzip
import io
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import Row, finish, json_option, row
from simulator.design.design import Design
from simulator.design.load import CONFIGS, resolve
from simulator.devices import dram
from simulator.inputs.errors import InputError
from simulator.pricing.cache import CostCache
from simulator.result import Infeasible
from simulator.simulate import simulate

GPUS = {"H100": "h100-sxm", "H200": "h200-sxm", "A100": "a100-80gb", "B200": "b200", "B300": "b300", "L40S": "l40s",
        "MI300X": "mi300x", "MI355X": "mi355x"}
PROMPT_TOKENS = {"lm-arena-chat": 400.0, "gpqa": 250.0}  # chat: settled; gpqa: class of a question with four answers (estimate)
OUTPUT_SPREAD = 0.8  # lengths uniform in mean x (1 -+ this): clients must not stay in step
BATCHES = (8, 512)
# what is compared, and the column of its measurement
QUANTITIES = {"power": "avg_power_watts", "energy_per_token": "energy_per_token_joules", "itl": "median_itl_ms",
              "power_at_measured_rate": "avg_power_watts"}
BARS = {"h100/power": 10.0, "h100/energy_per_token": 12.0, "h100/power_at_measured_rate": 10.0,
        "b200/power_at_measured_rate": 10.0}
# Bytes that sampling with top-k and top-p moves per logit in the many passes of its sort: 0.3 ns on an H100's 2.73 TB/s
SAMPLER_BYTES_PER_LOGIT = 819.0
SUFFIX = re.compile(r"-(instruct|chat|it|hf|thinking|fp8|bf16|\d{4})$")

Measured = dict[str, str]


class NotExpressed(Exception):
    """A row that no design of this program stands for."""


def design_of(measured: Measured, requests_per_client: int) -> Design:
    """The design and workload of a measured row. Raises NotExpressed with the reason."""
    slots = int(measured["max_num_seqs"])
    split = ast.literal_eval(measured["parallelization"])
    tensor, data = int(split["tensor_parallel"]), int(split["data_parallel"])
    if data > 1 or tensor != int(measured["num_gpus"]):
        raise NotExpressed("attention data parallel")
    gpu, tokens = GPUS.get(measured["gpu_model"]), PROMPT_TOKENS.get(measured["task"])
    if gpu is None:
        raise NotExpressed(f"GPU {measured['gpu_model']}")
    if tokens is None:
        raise NotExpressed(f"task {measured['task']}")
    bits = {"bfloat16": "bf16", "fp8": "fp8"}.get(measured["prec"])
    if bits is None:
        raise NotExpressed(f"precision {measured['prec']}")
    outputs = float(measured["avg_output_len"])
    low, high = (max(1, round(outputs * (1 + sign * OUTPUT_SPREAD))) for sign in (-1, 1))
    plain = {
        "model": model_of(measured["model"]), "hardware": {"base": gpu},
        "precision": {"weights": bits, "activations": bits},
        "parallelism": {"tensor": tensor, "expert_parallel": int(split["expert_parallel"]) > 1},
        "serving": {"max_num_seqs": slots, "max_num_batched_tokens": 8192, "cuda_graphs": True, "async_scheduling": True},
        "workload": {"prompt": {"distribution": "lognormal", "mean": tokens, "cv": 1.0},
                     "output": {"distribution": "uniform", "low": low, "high": high},
                     "requests": slots * requests_per_client, "concurrency": slots},
        "costs": {"base": "default", "server_power": "0 W"}}
    return with_sampler(resolve(plain))


def with_sampler(design: Design) -> Design:
    """`design`, every sequence of a step sampled on the device."""
    gpu = design.hardware.gpu
    assert gpu is not None
    stream = dram.peak_bandwidth_bytes_per_s(design.hardware.memory) * gpu.memory_efficiency
    seconds = SAMPLER_BYTES_PER_LOGIT * design.model.vocab / stream
    host = design.hardware.host.model_copy(update={"device_sequence_s": seconds})
    return design.model_copy(update={"hardware": design.hardware.model_copy(update={"host": host})})


def model_of(name: str) -> str:
    """The model in `configs/models` that a checkpoint's name means."""
    found = name.rsplit("/", 1)[-1].lower()
    while (shorter := SUFFIX.sub("", found)) != found:
        found = shorter
    if not (CONFIGS / "models" / f"{found}.yaml").is_file():
        raise NotExpressed(f"model {name}")
    return found


def steady(measured: Measured, cache: CostCache) -> tuple[float, float, float, float]:
    """(W of all boards, J per token, median ITL in ms, W at the measured rate of tokens): what more requests of the same clients
    add, so that neither start nor drain counts."""
    many = 40 if float(measured["avg_output_len"]) < 2000 else 12
    designs = [design_of(measured, n) for n in (many, 2 * many)]
    results = [simulate(design, cache=cache) for design in designs]
    short, long = (result.metrics for result in results)
    idle = [result.energy_by_component_j(design)["idle"] for design, result in zip(designs, results, strict=True)]
    joules, seconds = long["energy"] - short["energy"], long["makespan"] - short["makespan"]
    tokens = long["energy"] / long["energy_per_token"] - short["energy"] / short["energy_per_token"]
    idle_j = idle[1] - idle[0]
    at_rate = idle_j / seconds + (joules - idle_j) / tokens * float(measured["output_throughput_tokens_per_sec"])
    return joules / seconds, joules / tokens, long["itl_p50"] * 1e3, at_rate


def compare(table: list[Measured]) -> list[Row]:
    """Rows of every GPU; a line printed per measured row."""
    cache = CostCache()
    errors: dict[str, list[tuple[bool, list[float]]]] = defaultdict(list)
    left: Counter[str] = Counter()
    print(f"{'model':34} {'task':14} {'GPUs':8} {'batch':>5}  {'W':>7} {'real':>7} {'error':>6}  {'J/token':>8} {'error':>6}  "
          f"{'ITL ms':>7} {'error':>6}  W at the measured rate")
    for measured in table:
        batch = int(measured["max_num_seqs"])
        if not BATCHES[0] <= batch <= BATCHES[1]:
            left["outside of the judged batches"] += 1
            continue
        try:
            found = steady(measured, cache)
        except (NotExpressed, Infeasible, InputError) as why:
            left[str(why)] += 1
            continue
        real = tuple(float(measured[key]) for key in QUANTITIES.values())
        off = [(a / b - 1) * 100 for a, b in zip(found, real, strict=True)]
        gpu = measured["gpu_model"]
        errors[gpu.lower()].append((len(errors[gpu.lower()]) % 2 == 0, off))
        print(f"{measured['model'][-34:]:34} {measured['task']:14} {measured['num_gpus']} {gpu:6} {batch:5}  {found[0]:7,.0f} "
              f"{real[0]:7,.0f} {off[0]:+5.0f}%  {found[1]:8.3f} {off[1]:+5.0f}%  {found[2]:7.1f} {off[2]:+5.0f}%  {off[3]:+5.0f}%")
    rows = [r for gpu in sorted(errors) for r in of_gpu(gpu, errors[gpu])]
    for why, count in sorted(left.items()):
        print(f"left out: {count} rows, {why}")
    models = sum(1 for why in left if why.startswith("model "))
    return [*rows, row("not_expressed/models", models, ""),
            row("not_expressed/rows", sum(n for why, n in left.items() if not why.startswith("outside")), "")]


def of_gpu(gpu: str, errors: list[tuple[bool, list[float]]]) -> list[Row]:
    rows = []
    for i, name in enumerate(QUANTITIES):
        off = np.array([e[i] for _, e in errors])
        held_out = np.array([e[i] for settled, e in errors if not settled])
        full = f"{gpu}/{name}"
        rows += [row(f"{full}/mape", float(np.abs(off).mean()), "%", BARS.get(full)),
                 row(f"{full}/median", float(np.median(off)), "%"), row(f"{full}/p90", float(np.percentile(np.abs(off), 90)), "%")]
        if len(held_out):
            rows.append(row(f"{full}/held_out_mape", float(np.abs(held_out).mean()), "%"))
    return [*rows, row(f"{gpu}/rows", len(errors), "")]


def read(path: Path) -> list[Measured]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return list(csv.DictReader(io.StringIO(text)))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE")
    json_option(parser)
    args = parser.parse_args()
    try:
        table = read(args.file)
    except (OSError, UnicodeDecodeError) as error:
        print(f"{args.file}: {error}", file=sys.stderr)
        return 2
    if not table or "avg_power_watts" not in table[0]:
        print(f"{args.file}: no rows with the column avg_power_watts", file=sys.stderr)
        return 2
    rows = compare(table)
    print()
    return finish(rows, args.json)


if __name__ == "__main__":
    sys.exit(main())
