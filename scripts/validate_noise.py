"""How often the 95 % intervals over replicates hold the truth: of single metrics, and of differences between two designs.

    python scripts/validate_noise.py [--runs 4000] [--json FILE]

A design is served with many seeds; the mean over all of them stands for the truth. The runs are cut into groups of n, each
with its interval, and the share of intervals that hold the truth is counted. The same for the difference to a second
design on the same seeds: paired, and (for the width alone) as if the seeds were the designs' own. Rates of two designs that
both keep up are equal on every seed: such a difference is shown and not judged.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import Row, finish, json_option, measured
from simulator.analysis.confidence import standard_errors, t_quantile
from simulator.design.load import load_design
from simulator.prepare import prepare
from simulator.pricing.cache import CostCache
from simulator.simulate import serve
from simulator.workload.load import load_trace

DESIGN = "npu-chat"
WORKLOAD = {"name": "chat-300", "arrivals": {"process": "poisson", "rate": "4 requests/s"}, "requests": 300,
            "prompt": {"distribution": "lognormal", "mean": 600, "cv": 1.0, "low": 4, "high": 8000},
            "output": {"distribution": "lognormal", "mean": 220, "cv": 0.8, "low": 4, "high": 2000}}
OTHER = {"serving.max_num_batched_tokens": 1024}
METRICS = ("ttft_mean", "ttft_p99", "tpot_mean", "tpot_p95", "goodput", "output_throughput", "energy_per_token")
COUNTS = (3, 5, 10)
LEAST = 0.90  # goal: coverage of 95 % intervals of metrics that are skewed (percentiles of few requests)

Float64 = NDArray[np.float64]


def served(runs: int, overrides: dict[str, Any]) -> Float64:
    """[metrics, runs]: METRICS of DESIGN on seeds 0 .. runs - 1."""
    cache = CostCache()
    design = load_design(DESIGN, {"workload": WORKLOAD, **overrides})
    priced = prepare(design, cache)
    rows = []
    for seed in range(runs):
        trace = load_trace(design.workload.model_copy(update={"seed": seed}))
        found = serve(design, priced, trace, gaps=False).metrics
        rows.append([found[name] for name in METRICS])
    return np.array(rows).T


def coverage(values: Float64, count: int) -> float:
    """Share of the groups of `count` successive values whose 95 % interval holds the mean of all [runs]."""
    groups = values[: len(values) // count * count].reshape(-1, count)
    widths = t_quantile(count) * standard_errors(groups)
    return float((np.abs(groups.mean(axis=1) - values.mean()) <= widths).mean())


def narrower(a: Float64, b: Float64) -> float:
    """How many times narrower the paired interval of a difference is than that of independent seeds."""
    return math.sqrt(float(a.var() + b.var()) / max(float((a - b).var()), 1e-300))


def rows(runs: int) -> list[Row]:
    """The table as flat rows."""
    one, other = served(runs, {}), served(runs, OTHER)
    found = []
    for i, metric in enumerate(METRICS):
        for count in COUNTS:
            for kind, values in (("metric", one[i]), ("difference", one[i] - other[i])):
                share, tied = coverage(values, count), np.count_nonzero(values) < runs / 2  # no spread, nothing to judge
                goal, met = ("", None) if tied else (f">= {LEAST}", share >= LEAST)
                found.append(measured(f"{kind}_{count}/{metric}", share, "share", goal, met, digits=None))
        found.append(measured(f"paired_narrower/{metric}", narrower(one[i], other[i]), "x", digits=None))
    return found


def main() -> int:
    """Prints the table; 1 where a coverage is below LEAST."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=4000, help="seeds in all (default 4000)")
    json_option(parser)
    args = parser.parse_args()
    found = rows(args.runs)
    by_name = {row["name"]: row["value"] for row in found}
    heads = [f"{kind}, n = {count}" for kind in ("metric", "difference") for count in COUNTS]
    print("| 95 % interval of | " + " | ".join(heads) + " | pairing narrows by |")
    print("| --- |" + " --- |" * (len(heads) + 1))
    for metric in METRICS:
        shares = [f"{by_name[f'{kind}_{count}/{metric}']:.1%}" for kind in ("metric", "difference") for count in COUNTS]
        print(f"| `{metric}` | " + " | ".join(shares) + f" | {by_name[f'paired_narrower/{metric}']:.1f} x |")
    return finish(found, args.json, shown=True)


if __name__ == "__main__":
    sys.exit(main())
