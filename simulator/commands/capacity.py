"""`python -m simulator capacity` finds the highest request rate at which a design meets its latency targets."""

from __future__ import annotations

import json
import sys

from rich.console import Console
from rich.table import Table

from simulator.analysis.rate_search import ATTAINMENT, MaxRate, Target, capacity, default_target, limits_of, parse_share
from simulator.design.design import Design
from simulator.design.load import load_design, parse_override
from simulator.design_key import design_key
from simulator.inputs.errors import InputError
from simulator.result import Infeasible
from simulator.results.metrics import CAPACITY_METRICS


def capacity_command(source: str, overrides: list[str], slo: list[str], *, seeds: int, tolerance: str,
                     as_json: bool) -> int:
    """Searches and prints. Raises InputError for bad input, and for a design that misses its targets at any rate."""
    design = load_design(source, dict(parse_override(text) for text in overrides))
    try:
        limits = limits_of(dict(_assignment(text) for text in slo))
        target = Target(limits or default_target(design).limits, parse_share(tolerance, "tolerance"), seeds)
    except InputError as error:
        raise InputError(error.message, key=f"--{error.key}" if error.key else None) from None
    try:
        found = capacity(design, target)
    except Infeasible as infeasible:
        first = infeasible.violations[0]
        raise InputError(f"the design cannot serve: {first.message}", file=source, key=first.name) from None
    if as_json:
        json.dump({"design_key": design_key(design), "targets": dict(target.limits),
                   "metrics": {CAPACITY_METRICS[name].column: value for name, value in found.metrics.items()},
                   "seeds": [{"rate_requests_per_s": t.rate, "fails_at_requests_per_s": t.fails, "runs": t.runs}
                             for t in found.thresholds]}, sys.stdout, indent=2)
        print()
    else:
        _print(design, target, found)
    return 0


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value.strip():
        raise InputError(f"expects METRIC=LIMIT such as ttft_p99=2s, got '{text[:60]}'", key="slo")
    return name.strip(), value.strip()


def _print(design: Design, target: Target, found: MaxRate) -> None:
    console = Console(width=None if sys.stdout.isatty() else 110)
    said = ", ".join(f"{name} >= {limit:.4g}" if name == ATTAINMENT else f"{name} <= {limit:.4g} s"
                     for name, limit in target.limits.items())
    console.print(f"[bold]{design.model.name}[/] on [bold]{design.hardware.name}[/], {design.parallelism.devices} devices; "
                  f"highest rate of {design.workload.name} with {said}", highlight=False)
    table = Table("seed", "highest rate that meets the SLO", "lowest that fails", "runs")
    for seed, t in enumerate(found.thresholds):
        table.add_row(str(seed), f"{t.rate:.4g} requests/s",
                      "saturated" if t.fails is None else f"{t.fails:.4g} requests/s", str(t.runs))
    console.print(table)
    facts = Table("metric", "value")
    for name, value in found.metrics.items():
        facts.add_row(name, f"{value:.4g} {CAPACITY_METRICS[name].unit}".rstrip())
    console.print(facts)
