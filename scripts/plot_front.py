"""Draws two objectives of a study as an SVG: every feasible design, the front, the baselines (needs matplotlib).

    python scripts/plot_front.py runs/my_npu docs/images/front.svg --x cost_per_hour_usd --y tpot_p95_ms --color pim
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow.parquet as pq


def words(column: str) -> str:
    """A column's name and unit as people write them: cost_per_hour_usd -> cost per hour (USD)."""
    name, _, unit = column.rpartition("_")
    name = " ".join(part.upper() if part in ("tpot", "ttft", "itl", "e2e") else part for part in name.split("_"))
    return f"{name} ({unit.upper() if unit == 'usd' else unit})"


def main() -> None:
    """Reads trials.parquet and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--x", required=True, help="a column of trials.parquet")
    parser.add_argument("--y", required=True)
    parser.add_argument("--color", required=True, help="a parameter with few values")
    args = parser.parse_args()
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "front"  # the same picture, the same file
    from matplotlib import pyplot as plt

    trials = [t for t in pq.read_table(args.folder / "trials.parquet").to_pylist() if t["status"] == "complete"]
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for value in sorted({str(t[args.color]) for t in trials if not t["baseline"]}):
        own = [t for t in trials if str(t[args.color]) == value and not t["baseline"]]
        inside = [t for t in own if not t["pareto"]]
        on_front = [t for t in own if t["pareto"]]
        drawn = axes.scatter([t[args.x] for t in on_front], [t[args.y] for t in on_front], s=26, label=f"{args.color} = {value}")
        axes.scatter([t[args.x] for t in inside], [t[args.y] for t in inside], s=9, alpha=0.35, color=drawn.get_facecolor()[0])
    for mark, trial in zip("X*Ds", (t for t in trials if t["baseline"]), strict=False):
        axes.scatter([trial[args.x]], [trial[args.y]], marker=mark, s=90, color="black", label=f"baseline: {trial['baseline']}")
    axes.set(xlabel=words(args.x), ylabel=words(args.y), xscale="log", yscale="log",
             title=f"{args.folder.name}: {len(trials)} feasible designs; large dots are on the Pareto front")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    axes.grid(alpha=0.2, which="both")
    figure.savefig(args.out, metadata={"Date": None})


if __name__ == "__main__":
    main()
