"""Compares step times with recorded engine steps: fitted on 5 % of the rows, and unfitted from datasheet and defaults.

    python scripts/validate_steps.py FILE [--model qwen3-32b] [--hardware b300] [--json FILE]

FILE: CSV (may be gzipped) with columns run (TP degree in its name), phase (decode, mixed, context), ctx_tokens,
ctx_requests, ctx_kv_tokens, decode_requests, decode_kv_tokens, latency_ms. Model and hardware are taken from the run's
and the file's name where they name presets. The fit sees 5 % of the rows of each TP degree, after a fixed shuffle, of the
rare phases a larger share; errors are those on the rest. `mape_worst_sample` is the worst of five such samples, the first of
which gives the other rows. Parameters: simulator.recorded.fit. Exits 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import gzip
import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import finish, json_option, noise, row
from scripts.shipped_hardware import preset
from simulator.design.design import Design
from simulator.design.load import CONFIGS, resolve
from simulator.devices.dram import peak_bandwidth_bytes_per_s
from simulator.inputs.errors import InputError
from simulator.model.memory import weight_bytes
from simulator.pricing.cache import CostCache
from simulator.pricing.cuda_graphs import LARGEST
from simulator.pricing.price import price
from simulator.recorded import fit
from simulator.recorded.fit import Steps

SHARE = 0.05
SEED = 20
SAMPLES = 5  # how many shares of the rows are tried, so that no lucky one is reported
BARS = {"decode": 2.0, "mixed": 5.0, "context": 5.0}
UNFITTED_BAR = 15.0
LEAST = 60  # rows of a phase that the fit gets where 5 % would be fewer, but no more than a third of them


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--model", help="preset in configs/models")
    parser.add_argument("--hardware", help="preset in configs/hardware")
    json_option(parser)
    args = parser.parse_args(argv)
    try:
        with (gzip.open if args.file.suffix == ".gz" else open)(args.file, "rt", newline="") as file:
            records = list(csv.DictReader(file))
        rows = [r for tensor, group in _by_tensor(records).items()
                for r in _compare(tensor, group, args.model or _preset("models", records[0]["run"]),
                                  args.hardware or _preset("hardware", args.file.name))]
    except (InputError, OSError, KeyError) as error:
        print(f"{args.file}: {error!r}" if isinstance(error, KeyError) else error, file=sys.stderr)
        return 2
    return finish(rows, args.json)


def _compare(tensor: int, records: list[dict[str, str]], model: str, hardware: str) -> list[dict[str, object]]:
    def column(name: str) -> np.ndarray:
        return np.array([float(r[name]) for r in records])

    whole = {name: column(name).astype(np.int64) for name in ("decode_requests", "ctx_requests")}
    steps = Steps(whole["decode_requests"], column("decode_kv_tokens"), whole["ctx_requests"], column("ctx_tokens"),
                  column("ctx_kv_tokens"))
    measured = column("latency_ms") / 1e3
    phases = np.array([r["phase"] for r in records])
    most = int(steps.sequences.max())
    cache = CostCache()

    def parts(**host: str) -> tuple[Design, fit.Parts]:
        design = resolve({"model": model, "hardware": {"base": hardware, "host": host}, "parallelism": {"tensor": tensor},
                          "serving": {"max_num_seqs": max(most, 256), "max_num_batched_tokens": int(max(8192, steps.tokens.max())),
                                      "cuda_graphs": True}, "workload": "chat-200"})
        return design, fit.parts(price(design, cache).costs, steps)

    as_shipped = parts()[1]
    default = as_shipped.host + as_shipped.linear + as_shipped.decode + as_shipped.prefill
    design, found = parts(graphless_layer="0 s")  # launches are fitted
    possible = ~_misrecorded(measured, _least_s(design, steps))
    sizes = range(2, most + 1, 2)  # kernels change with the batch, not only at graph sizes
    launches_s = preset(hardware).host.graphless_layer_s * design.model.layers
    errors: dict[str, list[np.ndarray]] = {}
    signed: dict[str, np.ndarray] = {}
    for seed in range(SEED, SEED + SAMPLES):
        chosen = _chosen(np.where(possible, phases, ""), seed)
        calibration = fit.fit(_of(found, chosen), _of(steps, chosen), measured[chosen], LARGEST, sizes, launches_s)
        over = (fit.predicted_s(found, steps, calibration, LARGEST) / measured - 1) * 100
        off = np.abs(over)
        if seed == SEED:
            fitted_rows = int(chosen.sum())
            print(f"TP {tensor}: {len(records)} steps, fitted on {fitted_rows}: {_shown(calibration)}")
        for phase in BARS:
            rest = (phases == phase) & ~chosen & possible
            errors.setdefault(phase, []).append(off[rest])
            signed.setdefault(phase, over[rest])  # of the first sample
    plain = np.abs(default / measured - 1) * 100
    rows = []
    for phase, bar in BARS.items():
        first, unfitted = errors[phase][0], plain[(phases == phase) & possible]
        if not len(first):
            continue
        rows += [row(f"tp{tensor}/{phase}/mape", float(first.mean()), "%", bar),
                 row(f"tp{tensor}/{phase}/mape_worst_sample", float(max(e.mean() for e in errors[phase]))),
                 row(f"tp{tensor}/{phase}/median", float(np.median(first))),
                 row(f"tp{tensor}/{phase}/signed_median", float(np.median(signed[phase]))),
                 row(f"tp{tensor}/{phase}/p90", float(np.percentile(first, 90))),
                 row(f"tp{tensor}/{phase}/p95", float(np.percentile(first, 95))),
                 row(f"tp{tensor}/{phase}/rows", len(first), ""),
                 *noise(f"tp{tensor}/{phase}", _repeats([r for r in records if r["phase"] == phase])),
                 row(f"tp{tensor}/{phase}/unfitted_mape", float(unfitted.mean()), "%", UNFITTED_BAR)]
    rows.append(row(f"tp{tensor}/fitted_rows_pct", fitted_rows / len(measured) * 100))
    rows.append(row(f"tp{tensor}/misrecorded_rows", float((~possible).sum()), "rows"))
    return rows


def _repeats(records: list[dict[str, str]]) -> dict[tuple[str, ...], list[float]]:
    """Times of steps by what was in them."""
    found: dict[tuple[str, ...], list[float]] = defaultdict(list)
    what = ("ctx_tokens", "ctx_requests", "ctx_kv_tokens", "decode_requests", "decode_kv_tokens")
    for r in records:
        found[tuple(r[name] for name in what)].append(float(r["latency_ms"]))
    return found


def _least_s(design: Design, steps: Steps) -> np.ndarray:
    """What no device with these peaks can beat: weights read once, every token multiplied with them."""
    gpu, memory = design.hardware.gpu, design.hardware.memory
    assert gpu is not None
    weights = weight_bytes(design.model, design.precision, design.parallelism.tensor, 1)[0]
    tables = (1 if design.model.tied_embeddings else 2) * design.model.vocab * design.model.hidden * 2
    blocks = weights - tables / design.parallelism.tensor
    return np.maximum(blocks / peak_bandwidth_bytes_per_s(memory), steps.tokens * blocks / gpu.peak_bf16)


def _misrecorded(measured_s: np.ndarray, least_s: np.ndarray) -> np.ndarray:
    """Rows that do not hold the time of their own step, which are left out and counted: those below the roofline, and the row
    before one of them where it has room for both steps, since that is where the missing time went."""
    impossible = measured_s < least_s
    both = np.append(impossible[1:], False) & (measured_s >= least_s + np.append(least_s[1:], 0.0))
    return impossible | both


def _chosen(phases: np.ndarray, seed: int) -> np.ndarray:
    """Which rows the fit sees: SHARE of all, of the rare phases at least LEAST (or a third), after a shuffle by `seed`."""
    chosen = np.zeros(len(phases), dtype=bool)
    rng = np.random.default_rng(seed)
    shuffled = {phase: rng.permutation(np.flatnonzero(phases == phase)) for phase in BARS}
    left = int(SHARE * len(phases))
    for phase in sorted(BARS, key=lambda phase: len(shuffled[phase])):
        share = max(int(SHARE * len(shuffled[phase])), min(LEAST, len(shuffled[phase]) // 3))
        chosen[shuffled[phase][: min(share, left)]] = True
        left -= min(share, left)
    return chosen


def _of(record, chosen):  # type: ignore[no-untyped-def]
    """The chosen rows of a record of arrays."""
    return type(record)(*(getattr(record, f.name)[chosen] for f in dataclasses.fields(record)))


def _shown(c: fit.Calibration) -> str:
    sizes = ", ".join(f"n >= {n}: {s * 1e3:.2f} ms" for n, s in zip(c.sizes, c.size_s, strict=True) if s > 0)
    linear, decode = ("/".join(f"{f:.3f}" for f in factors) for factors in (c.linear, c.decode))
    return (f"step {c.step_s * 1e3:.2f} ms, sequence {c.sequence_s * 1e6:.0f} us, launches {c.launches_s * 1e3:.2f} ms, "
            f"linear x{linear}, decode attention x{decode}, prefill attention x{c.prefill:.3f}; {sizes}")


def _by_tensor(records: list[dict[str, str]]) -> dict[int, list[dict[str, str]]]:
    groups: dict[int, list[dict[str, str]]] = {}
    for r in records:
        found = re.search(r"tp(\d+)", r["run"])
        if found is None:
            raise InputError(f"run '{r['run']}' does not say its TP degree (tp1, tp4 ...)")
        groups.setdefault(int(found[1]), []).append(r)
    return dict(sorted(groups.items()))


def _preset(catalogue: str, text: str) -> str:
    """The longest preset name that occurs in `text`."""
    flat = re.sub(r"[^a-z0-9]", "", text.lower())
    names = [p.stem for p in (CONFIGS / catalogue).glob("*.yaml") if re.sub(r"[^a-z0-9]", "", p.stem) in flat]
    if not names:
        raise InputError(f"'{text}' names no preset of configs/{catalogue}; give --{catalogue.rstrip('s')}")
    return max(names, key=len)


if __name__ == "__main__":
    sys.exit(main())
