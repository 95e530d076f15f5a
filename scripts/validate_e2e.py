"""Compares TTFT and TPOT with measured serving points of fixed lengths and concurrency, simulated and not by formula.

    python scripts/validate_e2e.py FILE [--json FILE]

FILE: CSV (may be gzipped) with model, system, backend, isl, osl, batch (requests in flight per replica), tp, pp, ttft_ms,
tpot_ms, or the names that `e2e_formats.py` maps to these, and optionally gemm_q (number format, where it was recorded) and a
peer's prediction aic_ttft_ms, aic_tpot_ms (empty: refused). A point is a closed loop: `batch` clients start at once, each asks
several times, and a request and its answer each take some milliseconds between client and engine; TTFT is the client's, means
over all requests. How it was run is read from harness columns where the file has them (its rows then begin with its name, and
the engine is a record of configs/engines); else it is taken from `e2e_frameworks.py`. Points that cannot be served are refused
and counted. `settled` are the configurations on which constants of hosts were settled, `held_out` the others, in files without
harness columns. Exits 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.closed_loop import answered, lengths
from scripts.e2e_formats import Harness, harness_of, mapped, row_prefix
from scripts.e2e_frameworks import FRAMEWORKS, Framework, budget, kv_blocks
from scripts.published import record_of
from scripts.report import Row, finish, json_option, row
from scripts.shipped_hardware import of_system, preset
from simulator.design.design import Design
from simulator.design.load import resolve
from simulator.devices.dram import peak_bandwidth_bytes_per_s
from simulator.inputs.errors import InputError
from simulator.model.memory import weight_bytes
from simulator.prepare import violations
from simulator.pricing.cache import CostCache
from simulator.pricing.price import PricedDesign, price
from simulator.recorded.vllm_run import preset_named

TPOT_BAR, TTFT_BAR = 10.0, 25.0
MAX_NUM_SEQS = 256
EIGHT_BIT = {"weights": "fp8", "activations": "fp8", "kv": "fp8"}  # as NVIDIA's FP8 checkpoints ask for
COLUMNS = ("model", "system", "backend", "isl", "osl", "batch", "tp", "pp", "ttft_ms", "tpot_ms")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE")
    json_option(parser)
    parser.add_argument("--points", type=Path, metavar="FILE.csv", help="write every point with its prediction")
    args = parser.parse_args(argv)
    try:
        points = read_points(args.file)
        predicted = predict_all(points)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if args.points:
        with args.points.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*points[0], "sim_ttft_ms", "sim_tpot_ms"])
            writer.writerows([*p.values(), *("" if s is None else f"{v * 1e3:.3f}" for v in (s or ("", "")))]
                             for p, s in zip(points, predicted, strict=True))
    prefix = row_prefix(args.file, points)
    groups = {"all": list(range(len(points)))}
    if not prefix:  # constants were settled on files without harness columns
        groups["settled"], groups["held_out"] = _settled(points)
    for i, p in enumerate(points):
        groups.setdefault(f"{p['system']}/{p['backend']}", []).append(i)
        groups.setdefault(f"{p['model'].rsplit('/', 1)[-1].lower()}/tp{p['tp']}", []).append(i)
    rows = [r for name, members in groups.items() for r in _rows(prefix + name, members, points, predicted, judged=name == "all")]
    return finish(rows, args.json)


def read_points(path: Path) -> list[dict[str, str]]:
    """The rows of the file. Raises InputError naming what is missing."""
    points = mapped(path, COLUMNS)
    for p in points:
        if p["backend"] not in FRAMEWORKS:
            raise InputError(f"backend '{p['backend']}' is not known; known: {', '.join(FRAMEWORKS)}", file=str(path))
        for name in COLUMNS[3:]:
            try:
                (float if name.endswith("_ms") else int)(p[name])
            except (TypeError, ValueError) as error:
                raise InputError(f"column '{name}' holds {p[name]!r}", file=str(path)) from error
    return points


def predict_all(points: list[dict[str, str]]) -> list[tuple[float, float] | None]:
    """(TTFT, TPOT) in seconds of every point; None where the design cannot serve."""
    cache = CostCache()
    priced: dict[tuple[str, ...], PricedDesign | None] = {}
    found: list[tuple[float, float] | None] = []
    eight_bit = _eight_bit(points)
    for p in points:
        harness = harness_of(p)
        if harness is not None:
            found.append(_with_harness(p, harness, priced, cache))
            continue
        tokens = _budget(p)
        key = (p["system"], p["tp"], p["pp"], str(tokens), *_family(p))
        if key not in priced:
            design = _design(p, tokens, eight_bit=_family(p) in eight_bit)
            missed = [v for v in violations(design) if v.name != "kv_fit"]
            priced[key] = None if missed else price(design, cache)
        ready, framework = priced[key], FRAMEWORKS[p["backend"]]
        found.append(None if ready is None else closed_loop(
            ready, int(p["isl"]), int(p["osl"]), int(p["batch"]), framework.requests_per_client,
            whole_prompts=framework.whole_prompts, slots=_slots(framework, int(p["batch"]), _family(p) in eight_bit)))
    return found


def _design(point: dict[str, str], tokens: int, *, eight_bit: bool) -> Design:
    backend, base = point["backend"], of_system(point["system"])
    gpu = preset(base).gpu
    kernels = backend if gpu is not None and getattr(gpu, backend, None) is not None else "vllm"
    framework = FRAMEWORKS[backend]
    plain = {"model": preset_named(point["model"], "models"),
             "hardware": {"base": base, "gpu": {"kernels": kernels}, "host": framework.host},
             "parallelism": {"tensor": int(point["tp"]), "pipeline": int(point["pp"])},
             "serving": {"max_num_seqs": MAX_NUM_SEQS, "max_num_batched_tokens": tokens, "cuda_graphs": True,
                         "async_scheduling": framework.overlapped},
             "precision": EIGHT_BIT if eight_bit else {}, "workload": "chat-200"}
    blocks = kv_blocks(backend, resolve(plain))
    return resolve({**plain, "serving": {**plain["serving"], "num_gpu_blocks": blocks}})


def _with_harness(point: dict[str, str], harness: Harness, priced: dict[tuple[str, ...], PricedDesign | None],
                  cache: CostCache) -> tuple[float, float] | None:
    """A point whose harness is known, served by the record of its engine."""
    key = (point["model"], point["system"], point["backend"], point["tp"], point["pp"], repr(harness))
    if key not in priced:
        family = point["backend"]
        eight = harness.weights == "fp8"
        design = resolve({
            "model": preset_named(point["model"], "models"), "hardware": of_system(point["system"]),
            "engine": record_of(family, harness.version),
            "parallelism": {"tensor": int(point["tp"]), "pipeline": int(point["pp"])},
            "precision": {"weights": "fp8" if eight else "bf16", "activations": "fp8" if eight else "bf16", "kv": harness.kv},
            "serving": {"max_num_seqs": harness.slots, "max_num_batched_tokens": harness.budget,
                        "async_scheduling": harness.asynchronous}, "workload": "chat-200"})
        missed = [v for v in violations(design) if v.name != "kv_fit"]
        priced[key] = None if missed else price(design, cache)
    ready = priced[key]
    return None if ready is None else closed_loop(ready, int(point["isl"]), int(point["osl"]), int(point["batch"]),
                                                  harness.requests_per_client, slots=harness.slots, lowest=harness.lowest)


def _slots(framework: Framework, clients: int, eight_bit: bool) -> int:
    """Sequences that the engine runs at once."""
    return MAX_NUM_SEQS if eight_bit or not framework.slots_short else max(clients - framework.slots_short, 1)


def _budget(point: dict[str, str]) -> int:
    return budget(point["backend"], int(point["isl"]), int(point["batch"]), MAX_NUM_SEQS)


def _family(point: dict[str, str]) -> tuple[str, ...]:
    """Points measured in one campaign, with one precision: model, backend, version, date."""
    return point["model"], point["backend"], point.get("version", ""), point.get("measured", "")


def _eight_bit(points: list[dict[str, str]]) -> set[tuple[str, ...]]:
    """Families whose precision was not 16 bits, recorded (`gemm_q`) or plain: a token came faster than
    16-bit weights can be read from DRAM."""
    found = {_family(p) for p in points if (p.get("gemm_q") or "").startswith("fp8")}
    least: dict[tuple[str, ...], float] = {}
    for p in points:
        key = p["model"], p["system"], p["tp"]
        if key not in least:
            design = resolve({"model": preset_named(p["model"], "models"), "hardware": of_system(p["system"]),
                              "workload": "chat-200"})
            blocks = weight_bytes(design.model, design.precision, int(p["tp"]), 1)[0]
            least[key] = blocks / peak_bandwidth_bytes_per_s(design.hardware.memory)
        if float(p["tpot_ms"]) / 1e3 < least[key]:
            found.add(_family(p))
    return found


def closed_loop(priced: PricedDesign, prompt: int, output: int, clients: int, each: int, *, whole_prompts: bool = False,
                slots: int = MAX_NUM_SEQS, lowest: float = 1.0) -> tuple[float, float] | None:
    """Mean TTFT and TPOT in seconds of all requests as their clients see them; None where one does not fit. lowest: lengths are
    uniform in that share of `prompt` and `output` up to them."""
    config = replace(priced.scheduler, max_num_seqs=slots)
    if whole_prompts and prompt + output <= config.max_num_batched_tokens:
        config = replace(config, enable_chunked_prefill=False, max_model_len=prompt + output)
    count = clients * each
    found = answered(priced.costs, config, lengths(prompt, lowest, count, 1), lengths(output, lowest, count, 2), clients)
    return None if found is None else (found.ttft_s, found.tpot_s)


def _settled(points: list[dict[str, str]]) -> tuple[list[int], list[int]]:
    """Indices of the points of every second configuration, on which constants were settled, and of the others."""
    names = [tuple(p.get(k, "") for k in ("system", "backend", "model", "tp", "isl", "osl", "version")) for p in points]
    at = {name: i % 2 for i, name in enumerate(sorted(set(names)))}
    halves: tuple[list[int], list[int]] = ([], [])
    for i, name in enumerate(names):
        halves[at[name]].append(i)
    return halves


def _rows(name: str, members: list[int], points: list[dict[str, str]], predicted: list[tuple[float, float] | None], *,
          judged: bool) -> list[Row]:
    rows = []
    for measure, at, bar in (("tpot", 1, TPOT_BAR), ("ttft", 0, TTFT_BAR)):
        served = [i for i in members if predicted[i] is not None]
        if not served:
            continue
        real = np.array([float(points[i][f"{measure}_ms"]) for i in served])
        off = np.array([predicted[i][at] * 1e3 for i in served]) / real - 1  # type: ignore[index]
        rows.append(row(f"{name}/{measure}_mape", float(np.abs(off).mean() * 100), "%", bar if judged else None))
        rows.append(row(f"{name}/{measure}_median", float(np.median(off) * 100)))
        rows.append(row(f"{name}/{measure}_p90", float(np.percentile(np.abs(off), 90) * 100)))
        rows.append(row(f"{name}/{measure}_rows", len(off), ""))
        peer = [(float(points[i][f"aic_{measure}_ms"]), float(points[i][f"{measure}_ms"])) for i in members
                if points[i].get(f"aic_{measure}_ms")]
        if peer:
            rows.append(row(f"{name}/{measure}_mape_peer", float(np.mean([abs(a / b - 1) for a, b in peer]) * 100)))
    rows.append(row(f"{name}/refused", float(sum(predicted[i] is None for i in members)), "points"))
    return rows


if __name__ == "__main__":
    sys.exit(main())
