"""Compares TTFT and TPOT with measured serving points of fixed lengths and concurrency, simulated and not by formula.

    python scripts/validate_e2e.py FILE [--json FILE]

FILE: CSV (may be gzipped) with model, system, backend, isl, osl, batch (requests in flight per replica), tp, pp, ttft_ms,
tpot_ms, and optionally gemm_q (number format, where it was recorded) and a peer's prediction aic_ttft_ms, aic_tpot_ms (empty:
refused). A point is a closed loop: `batch` clients start at once, each asks `requests_per_client` times, and a request and
its answer each take ONE_WAY_NS between client and engine; TTFT is the client's, means over all requests. Points that cannot
be served are refused and counted. Exits 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import Row, finish, row
from simulator.costs.cache import CostCache
from simulator.design import resolve
from simulator.hardware.dram import peak_bandwidth_bytes_per_s
from simulator.importers.vllm_run import preset_named
from simulator.inputs.errors import InputError
from simulator.model.memory import weight_bytes
from simulator.serving import engine
from simulator.serving.config import Trace
from simulator.simulate import Priced, price, violations

TPOT_BAR, TTFT_BAR = 10.0, 25.0
# The points do not say how they were measured; taken is what NVIDIA's aiconfigurator does when it evaluates deployments.
# Client (eval/benchmarks/genai_perf_runner.py): genai-perf with ten requests per client, means reported. The SGLang points are
# an exception inferred from the points themselves, whose TTFT is that of one batch sent at once.
REQUESTS_PER_CLIENT = {"sglang": 1}
OTHERWISE = 10
# Token budget of a step (generator/rule_plugin/benchmark/*.rule): prompt + batch + 1500; SGLang's is its default chunk of 8,192.
# That rule for vLLM was not passed on by every version of the generator: with vLLM's own default of 8,192 TTFT is predicted
# up to three times too long for prompts of 1,024. TensorRT-LLM runs prompts whole (enable_chunked_prefill: false).
BUDGET_BESIDE_PROMPT = 1500
DEFAULT_BUDGET = 8192
# HTTP, routing, chat template, tokenising a thousand tokens; and detokenising and streaming back: milliseconds each (our
# estimate; nothing at hand measures it). What matters is that it is more than nothing and less than a step: clients without
# it fall into step with the engine, and prompts then never wait for one another.
ONE_WAY_NS = 5_000_000
# SGLang (since 0.4) and TensorRT-LLM's PyTorch backend (1.0) overlap scheduling with the device; vLLM did not before 0.14.
SERVING = {"max_num_seqs": 256, "cuda_graphs": True}
OVERLAPPED = ("sglang", "trtllm")
EIGHT_BIT = {"weights": "fp8", "activations": "fp8", "kv": "fp8"}  # as NVIDIA's FP8 checkpoints ask for


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--points", type=Path, metavar="FILE.csv", help="write every point with its prediction")
    args = parser.parse_args(argv)
    try:
        with (gzip.open if args.file.suffix == ".gz" else open)(args.file, "rt", newline="") as file:
            points = list(csv.DictReader(file))
        predicted = predict_all(points)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if args.points:
        with args.points.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*points[0], "sim_ttft_ms", "sim_tpot_ms"])
            writer.writerows([*p.values(), *("" if s is None else f"{v * 1e3:.3f}" for v in (s or ("", "")))]
                             for p, s in zip(points, predicted, strict=True))
    groups = {"all": list(range(len(points)))}
    for i, p in enumerate(points):
        groups.setdefault(f"{p['system']}/{p['backend']}", []).append(i)
        groups.setdefault(f"{p['model'].rsplit('/', 1)[-1].lower()}/tp{p['tp']}", []).append(i)
    rows = [r for name, members in groups.items() for r in _rows(name, members, points, predicted)]
    return finish(rows, args.json)


def predict_all(points: list[dict[str, str]]) -> list[tuple[float, float] | None]:
    """(TTFT, TPOT) in seconds of every point; None where the design cannot serve."""
    cache = CostCache()
    priced: dict[tuple[str, ...], Priced | None] = {}
    found: list[tuple[float, float] | None] = []
    eight_bit = _eight_bit(points)
    for p in points:
        budget = _budget(p)
        key = (p["system"], p["tp"], p["pp"], str(budget), *_family(p))
        if key not in priced:
            hardware = {"base": p["system"].replace("_", "-"), "gpu": {"kernels": p["backend"]}}
            design = resolve({"model": preset_named(p["model"], "models"), "hardware": hardware,
                              "parallelism": {"tensor": int(p["tp"]), "pipeline": int(p["pp"])},
                              "serving": {**SERVING, "max_num_batched_tokens": budget,
                                          "async_scheduling": p["backend"] in OVERLAPPED},
                              "precision": EIGHT_BIT if _family(p) in eight_bit else {},
                              "workload": "chat-200"})
            missed = [v for v in violations(design) if v.name != "kv_fit"]
            priced[key] = None if missed else price(design, cache)
        ready = priced[key]
        each = REQUESTS_PER_CLIENT.get(p["backend"], OTHERWISE)
        found.append(None if ready is None else closed_loop(ready, int(p["isl"]), int(p["osl"]), int(p["batch"]), each,
                                                            whole_prompts=p["backend"] == "trtllm"))
    return found


def _budget(point: dict[str, str]) -> int:
    """Tokens a step may hold."""
    if point["backend"] == "sglang":
        return DEFAULT_BUDGET
    return max(int(point["isl"]) + int(point["batch"]) + BUDGET_BESIDE_PROMPT, int(SERVING["max_num_seqs"]))


def _family(point: dict[str, str]) -> tuple[str, ...]:
    """Points measured in one campaign, with one precision: model, backend, version, date."""
    return point["model"], point["backend"], point["version"], point.get("measured", "")


def _eight_bit(points: list[dict[str, str]]) -> set[tuple[str, ...]]:
    """Families whose precision was not 16 bits, recorded (`gemm_q`) or plain: a token came faster than
    16-bit weights can be read from DRAM."""
    found = {_family(p) for p in points if p.get("gemm_q") == "fp8"}
    for p in points:
        design = resolve({"model": preset_named(p["model"], "models"), "hardware": p["system"].replace("_", "-"),
                          "workload": "chat-200"})
        blocks = weight_bytes(design.model, design.precision, int(p["tp"]), 1)[0]
        if float(p["tpot_ms"]) / 1e3 < blocks / peak_bandwidth_bytes_per_s(design.hardware.memory):
            found.add(_family(p))
    return found


def closed_loop(priced: Priced, prompt: int, output: int, clients: int, each: int, *,
                whole_prompts: bool = False) -> tuple[float, float] | None:
    """Mean TTFT and TPOT in seconds of all requests as their clients see them; None where one does not fit.

    When a client sends depends on the run itself: replayed with the sending times of the replay before until they agree.
    Every replay is right for at least one more wave of requests, since nobody is answered before he has asked.
    """
    count = clients * each
    config = priced.scheduler
    if whole_prompts and prompt + output <= config.max_num_batched_tokens:
        config = replace(config, enable_chunked_prefill=False, max_model_len=prompt + output)
    lengths = np.full(count, prompt, np.int32), np.full(count, output, np.int32)
    sent, before = np.zeros(count, np.int64), None
    while before is None or (sent != before).any():
        result = engine.run(Trace(sent + ONE_WAY_NS, *lengths), config, priced.costs)
        if (result.finish_ns < 0).any():
            return None
        before, sent = sent, np.zeros(count, np.int64)
        sent[clients:] = np.sort(result.finish_ns)[: count - clients] + ONE_WAY_NS
    ttft = (result.first_token_ns + ONE_WAY_NS - sent).mean() / 1e9
    return float(ttft), float((result.finish_ns - result.first_token_ns).mean()) / 1e9 / max(output - 1, 1)


def _rows(name: str, members: list[int], points: list[dict[str, str]], predicted: list[tuple[float, float] | None]) -> list[Row]:
    rows = []
    for measure, at, bar in (("tpot", 1, TPOT_BAR), ("ttft", 0, TTFT_BAR)):
        served = [i for i in members if predicted[i] is not None]
        real = np.array([float(points[i][f"{measure}_ms"]) for i in served])
        off = np.array([predicted[i][at] * 1e3 for i in served]) / real - 1  # type: ignore[index]
        rows.append(row(f"{name}/{measure}_mape", float(np.abs(off).mean() * 100), "%", bar if name == "all" else None))
        rows.append(row(f"{name}/{measure}_median", float(np.median(off) * 100)))
        peer = [(float(points[i][f"aic_{measure}_ms"]), float(points[i][f"{measure}_ms"])) for i in members
                if points[i].get(f"aic_{measure}_ms")]
        if peer:
            rows.append(row(f"{name}/{measure}_mape_peer", float(np.mean([abs(a / b - 1) for a, b in peer]) * 100)))
    rows.append(row(f"{name}/refused", float(sum(predicted[i] is None for i in members)), "points"))
    return rows


if __name__ == "__main__":
    sys.exit(main())
