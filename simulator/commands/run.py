"""`python -m simulator run` simulates one design and prints its metrics and its breakdown."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from simulator.analysis.confidence import half_widths, mean_metrics, shown
from simulator.analysis.evidence import evidence
from simulator.design.design import Design
from simulator.design.engine_defaults.resolve import settings
from simulator.design.load import load_design, parse_override
from simulator.design.records.money import CostBasis
from simulator.design.units import show_seconds
from simulator.design_key import design_key
from simulator.inputs.errors import InputError
from simulator.pricing.cache import CostCache
from simulator.result import Infeasible, Result
from simulator.results.exports import requests_table, steps_table, write_table
from simulator.results.histogram import ERROR
from simulator.results.metrics import METRICS, PERCENTILES, Metric
from simulator.silicon.limits import notes
from simulator.silicon.money import BASIS_TEXT, BASIS_WORD
from simulator.simulate import simulate
from simulator.streamed import refusal, simulate_streamed, streams
from simulator.workload.load import load_trace
from simulator.workload.pieces import has_contents
from simulator.workload.replicates import replicates

SATURATED = 0.05  # share of the arriving requests that pile up, from which a run is called saturated


def run_command(source: str, overrides: list[str], *, as_json: bool, requests_file: str | None, steps_file: str | None,
                use_reference: bool, stream: bool) -> int:
    """Simulates the design and prints it; `stream`: in bounded memory however few its requests. Raises InputError for bad
    input or a design that cannot serve."""
    design = load_design(source, dict(parse_override(text) for text in overrides))
    options = {"--requests-csv": requests_file, "--steps-csv": steps_file, "--reference": use_reference}
    kept = next((option for option, given in options.items() if given), None)
    if stream and kept is not None:
        raise InputError("needs all requests in memory and cannot be combined with --stream", key=kept)
    long = kept is None and streams(design)
    refused = refusal(design) if stream or long else None
    if stream and refused is not None:
        raise InputError(f"{refused.message}: leave --stream out, and every request is kept in memory", key=refused.key)
    if not stream and long:
        stream = refused is None
        if refused is not None:
            print(f"note: all requests are held in memory, since {refused}", file=sys.stderr)
    try:
        result, runs = _streamed(design) if stream else _kept(design, log=steps_file is not None, use_reference=use_reference)
    except Infeasible as infeasible:
        first = infeasible.violations[0]
        raise InputError(f"the design cannot serve: {first.message}", file=source, key=first.name) from None
    for file, table in ((requests_file, requests_table), (steps_file, steps_table)):
        if file is not None:
            write_table(table(result), file)
    if as_json:
        json.dump(_as_json(design, result, runs), sys.stdout, indent=2)
        print()
    else:
        _print(design, result, runs)
    return 0


def _kept(design: Design, *, log: bool, use_reference: bool) -> tuple[Result, list[dict[str, float]]]:
    """The first replicate's result, and the metrics of all; requests are kept."""
    cache, workload = CostCache(), design.workload
    traces = replicates(workload, load_trace(workload), workload.replicates or 1)
    result = simulate(design, cache=cache, trace=traces[0], log=log, use_reference=use_reference)
    return result, [result.metrics, *(simulate(design, cache=cache, trace=trace, use_reference=use_reference).metrics
                                      for trace in traces[1:])]


def _streamed(design: Design) -> tuple[Result, list[dict[str, float]]]:
    """The same, each replicate drawn as it is served."""
    cache, workload = CostCache(), design.workload
    again = (workload.model_copy(update={"seed": workload.seed + k}) for k in range(1, workload.replicates or 1))
    result = simulate_streamed(design, cache=cache)
    return result, [result.metrics, *(simulate_streamed(design.model_copy(update={"workload": other}), cache=cache).metrics
                                      for other in again)]


def _as_json(design: Design, result: Result, runs: list[dict[str, float]]) -> dict[str, Any]:
    noise = {"replicates": len(runs), "half_widths": {METRICS[name].column: width for name, width in half_widths(runs).items()}}
    return {
        "design_key": design_key(design),
        **({"percentiles_within": ERROR} if result.streamed else {}),
        "metrics": {METRICS[name].column: value for name, value in mean_metrics(runs).items()},
        **(noise if len(runs) > 1 else {}),
        "operators": [{"name": op.name, "device": op.device, "seconds": op.seconds, "joules": op.joules,
                       "by_bound_s": op.by_bound_s, "fidelity": op.fidelity} for op in result.operators],
        "bound_s": result.bound_s,
        "energy_by_component_j": result.energy_by_component_j(design),
        "cost_basis": design.costs.cost_basis,
        "evidence": dataclasses.asdict(evidence(design.hardware)),
        "capacity": result.kv_memory.__dict__,
        **({"settings": [dataclasses.asdict(setting) for setting in settings(design)]} if design.engine is not None else {}),
        "design": design.to_plain(),
    }


def _print(design: Design, result: Result, runs: list[dict[str, float]]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 110)
    p, m, widths = design.parallelism, mean_metrics(runs), half_widths(runs)
    console.print(f"[bold]{design.model.name}[/] on [bold]{design.hardware.name}[/], {p.devices} devices = "
                  f"TP{p.tensor} x PP{p.pipeline} x {p.replicas} replica{'s' if p.replicas > 1 else ''}; "
                  f"workload {design.workload.name}, {m['requests']:.0f} requests")
    if len(runs) > 1:
        console.print(f"means of {len(runs)} replicates; ± half of a 95 % confidence interval; operators of the first")
    if m["backlog_growth"] > SATURATED * (m["request_throughput"] + m["backlog_growth"]):
        console.print(f"[bold]saturated[/]: {m['backlog_growth']:.3g} requests/s pile up; latencies grow with the trace's length")
    if m["rejected"]:
        console.print(f"{m['rejected']:,.0f} requests are rejected; percentiles without a value fall among them")
    if design.serving.enable_prefix_caching and not has_contents(design.workload):
        console.print("prefix caching is on, but the trace has no contents: nothing can hit")
    if result.streamed:
        console.print(f"streamed: no request is kept; latency percentiles are read off histograms, within {100 * ERROR:.2f} % "
                      "(ITL 0.4 %)")
    latency = Table("latency", "mean", *(f"p{q}" for q in PERCENTILES), title_justify="left")
    for name in ("ttft", "tpot", "itl", "e2e", "queueing"):
        if any(key.startswith(f"{name}_") for key in m):
            latency.add_row(name.upper() if name != "queueing" else name,
                            *(_seconds(f"{name}_{s}", m, widths) for s in ("mean", *(f"p{q}" for q in PERCENTILES))))
    console.print(latency)
    shown = [(name, metric) for name, metric in METRICS.items() if metric.unit != "s" and name in m]
    half = -(-len(shown) // 2)
    rest = Table("metric", "value", "metric", "value")
    for left, right in itertools.zip_longest(shown[:half], shown[half:]):
        rest.add_row(*_cells(left, m, widths, result.bill.basis), *_cells(right, m, widths, result.bill.basis))
    console.print(rest)
    total = sum(op.seconds for op in result.operators) or 1.0
    operators = Table("operator", "runs on", "busy", "share", "bound by", "fidelity")
    for op in sorted(result.operators, key=lambda o: -o.seconds):
        if op.seconds > 0:
            main = ", ".join(f"{b} {s / op.seconds:.0%}" for b, s in sorted(op.by_bound_s.items(), key=lambda i: -i[1]))
            operators.add_row(op.name, op.device, show_seconds(op.seconds), f"{op.seconds / total:.1%}", main, op.fidelity)
    console.print(operators)
    parts, seconds = result.energy_by_component_j(design), m["makespan"]
    drawn = ", ".join(f"{name} {joules / seconds:,.0f} W" for name, joules in parts.items() if joules)
    console.print(f"power by component: {drawn}; {m['energy_per_token']:.3g} J a token, {m['energy_per_request']:.3g} J a request")
    asked = " (the device has none: what a challenger would ask)" if result.bill.estimated else ""
    console.print(f"money: {BASIS_TEXT[result.bill.basis]}{asked}")
    console.print(f"{design.hardware.name}: {evidence(design.hardware)}")
    for line in notes(design.hardware):
        console.print(f"note: {line}")
    _print_settings(design, console)
    shares = ", ".join(f"{name} {seconds / total:.1%}" for name, seconds in result.bound_s.items())
    console.print(f"time by bound: {shares}")


def _print_settings(design: Design, console: Console) -> None:
    """Every effective setting and where it came from, for a design that names an engine."""
    if design.engine is None:
        return
    table = Table("setting", "value", "from", title=f"{design.engine.name} ({design.engine.as_of})", title_justify="left")
    for setting in settings(design):
        value = str(setting.value).lower() if isinstance(setting.value, bool) else str(setting.value)
        table.add_row(setting.key, value, setting.origin)
    console.print(table)


def _seconds(name: str, metrics: dict[str, float], widths: dict[str, float]) -> str:
    if name not in metrics:
        return "-"
    return show_seconds(metrics[name]) + (f" ± {show_seconds(float(f'{widths[name]:.2g}'))}" if name in widths else "")


def _cells(item: tuple[str, Metric] | None, metrics: dict[str, float], widths: dict[str, float],
           basis: CostBasis) -> tuple[str, str]:
    if item is None:
        return "", ""
    value = metrics[item[0]]
    text = f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    text += f" ± {shown(widths[item[0]])}" if item[0] in widths else ""
    unit = f"{item[1].unit} ({BASIS_WORD[basis]})" if "USD" in item[1].unit else item[1].unit
    return item[0], f"{text} {unit}".rstrip()
