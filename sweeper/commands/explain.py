"""`python -m sweeper explain` says why a trial's design is fast or slow, and what would help."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from simulator.analysis.evidence import evidence
from simulator.analysis.roofline_view import Position, positions
from simulator.design.units import show_seconds
from simulator.result import Infeasible
from simulator.results.metrics import ALL_METRICS
from simulator.simulate import simulate
from sweeper.commands.noise import metric_noise, objective_noise, shown, verdict
from sweeper.commands.show import found_trial, load_study
from sweeper.explain.against import Comparison, at_equal_settings, compared, mixed_prices, said
from sweeper.explain.knobs import Change, best_change, changes
from sweeper.explain.rests import remarks, rests
from sweeper.explain.why import devices
from sweeper.space.parameters import label
from sweeper.space.space import Space, describe
from sweeper.study.results import KEY_METRICS, metric_label, trial_design
from sweeper.study.trial import Trial
from sweeper.workers.evaluator import SimEvaluator


def explain(args: Namespace) -> int:
    """Prints where the time goes, what each knob would change and, with --against, what sets two trials apart."""
    space, found = load_study(Path(args.folder))
    trial = found_trial(found, args.trial)
    other = found_trial(found, args.against) if args.against is not None else None
    roofline = _roofline(space, trial)
    other_roofline = _roofline(space, other) if other else []
    knobs = changes(space, trial, SimEvaluator(space, {}))
    if args.json:
        json.dump(_plain(space, trial, roofline, knobs, other, other_roofline), sys.stdout, indent=2)
        print()
        return 0
    console = Console(width=None if sys.stdout.isatty() else 100)
    _print_head(console, space, trial)
    if roofline:
        _print_roofline(console, roofline)
    _print_knobs(console, space, trial, knobs)
    if other is not None:
        _print_differences(console, space, trial, other)
        _print_against(console, space, trial, other)
        _print_times(console, trial, other, roofline, other_roofline)
    return 0


def _roofline(space: Space, trial: Trial) -> list[Position]:
    """Empty for a design that cannot serve at all."""
    design = trial_design(space, trial)
    try:
        return positions(design, simulate(design))
    except Infeasible:
        return []


def _print_head(console: Console, space: Space, trial: Trial) -> None:
    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    say(f"trial {trial.number} of {space.name}: {trial.reason or trial.status}"
        + (f" (baseline {trial.baseline})" if trial.baseline else ""))
    say(f"  devices {devices(space, trial)}")
    if trial.parameters:
        say(f"  {describe(trial.parameters)}")
    for line in (*rests(space, [trial]), *remarks(space, [trial])):
        say(f"  {line}")
    for o in space.objectives:
        if o.name in trial.objectives:
            say(f"  {o.label}: {shown(trial, o.name)}" + (f" (95 %, {space.replicates} replicates)" if trial.replicates else ""))


def _print_roofline(console: Console, rows: list[Position]) -> None:
    bounds: dict[str, float] = {}
    for row in rows:
        for name, seconds in row.bound_s.items():
            bounds[name] = bounds.get(name, 0.0) + seconds
    total = sum(bounds.values()) or 1.0
    shares = ", ".join(f"{n} {s / total:.0%}" for n, s in sorted(bounds.items(), key=lambda i: -i[1]))
    console.print(f"\nbottleneck: {rows[0].name}, {rows[0].share:.0%} of busy time; bound by {shares}", highlight=False)
    table = Table("operator", "on", "busy", "share", "bound by", "FLOP/B", "compute", "memory", "link", "roofline",
                  title="% of the ceiling of ...", title_justify="right", box=SIMPLE_HEAD, pad_edge=False, padding=0)
    for column in table.columns:
        column.no_wrap = True
    for column in (2, 3, *range(5, 10)):
        table.columns[column].justify = "right"
    for row in rows:
        bound, seconds = max(row.bound_s.items(), key=lambda i: i[1])
        table.add_row(row.name, row.device, show_seconds(row.seconds), f"{row.share:.1%}", f"{bound} {seconds / row.seconds:.0%}",
                      "" if row.flops_per_byte is None else f"{row.flops_per_byte:.0f}" if row.flops_per_byte >= 100
                      else f"{row.flops_per_byte:.3g}",
                      *("" if v is None else f"{v:.1%}" for v in (row.compute_share, row.memory_share, row.link_share,
                                                                 row.roofline_share)))
    console.print(table)


def _print_knobs(console: Console, space: Space, trial: Trial, found: list[Change]) -> None:
    if not found:
        console.print("no knob of the space applies to this design", highlight=False)
        return
    console.print("one step of each knob, simulated (+ is better):", highlight=False)
    gains = (f"{o.name}\n{o.basis}" if o.basis else o.name for o in space.objectives)
    table = Table("knob", "from", "to", *gains, "", box=SIMPLE_HEAD, pad_edge=False)
    for change in sorted(found, key=lambda c: -max(c.gains.values(), default=-9e9)):
        status = "" if change.trial is not None and change.trial.status == "complete" else change.reason
        table.add_row(change.parameter, label(change.before), label(change.after),
                      *(f"{change.gains[o.name]:+.1%}" if o.name in change.gains else "" for o in space.objectives), status)
    console.print(table, markup=False)
    cures = [f"{c.parameter} {label(c.before)} -> {label(c.after)}" for c in found
             if c.trial is not None and c.trial.status == "complete"]
    if trial.status != "complete":
        console.print(f"feasible after one step: {', '.join(cures) or 'none'}", highlight=False, markup=False, soft_wrap=True)
    for o in space.objectives if trial.status == "complete" else ():
        best = best_change(found, o.name)
        text = "no single step that keeps every constraint" if best is None else (
            f"{best.parameter} {label(best.before)} -> {label(best.after)} ({best.gains[o.name]:+.1%})")
        console.print(f"helps {o.name} most: {text}", highlight=False, markup=False, soft_wrap=True)


def _print_differences(console: Console, space: Space, a: Trial, b: Trial) -> None:
    noisy = bool(a.replicates and b.replicates)
    noise: dict[str, float | None] = {**objective_noise(space, a, b)}
    table = Table("", f"trial {a.number}", f"trial {b.number}", "change", *(["noise of the difference (95 %)"] if noisy else []),
                  box=SIMPLE_HEAD, pad_edge=False)
    settings = [_settings(space, t, other) for t, other in ((a, b), (b, a))]
    for p in space.parameters:
        old, new = ("-" if s.get(p.name) is None else label(s[p.name]) for s in settings)
        if old != new:
            table.add_row(p.name, old, new, "")
    table.add_section()
    objectives = [(o.label, a.objectives.get(o.name), b.objectives.get(o.name), noise.get(o.name)) for o in space.objectives]
    metrics = [(metric_label(space, m), a.metrics.get(m), b.metrics.get(m),
                metric_noise(a, b, m)) for m in KEY_METRICS if m not in {o.name for o in space.objectives}]
    refused = mixed_prices(space, a, b)
    for name, left, right, width in [*objectives, *metrics]:
        if left is not None and right is not None:
            percent = f"{(right - left) / abs(left):+.1%}" if left and not (refused and "USD" in name) else ""
            table.add_row(name, f"{left:.4g}", f"{right:.4g}", percent,
                          *([verdict(right - left, width)] if noisy else []))
    console.print(table, markup=False)
    if refused:
        console.print(refused, highlight=False, markup=False, soft_wrap=True)
    if noise:
        beyond = [n for n, width in noise.items() if abs(b.objectives[n] - a.objectives[n]) > (width or 0.0)]
        console.print("the two differ by more than the noise in " + ", ".join(beyond) if beyond else
                      "the two tie: no objective differs by more than the noise", highlight=False, markup=False, soft_wrap=True)


def _print_against(console: Console, space: Space, trial: Trial, other: Trial) -> None:
    """A trial over a baseline, as it is and at equal settings; nothing for two designs of the space."""
    found = _comparisons(space, trial, other)
    if found:
        console.print(f"trial {trial.number} against {other.baseline}:", highlight=False, markup=False, soft_wrap=True)
    for one in found:
        console.print(f"  {one.settings}: {said(one, space.objectives)}", highlight=False, markup=False, soft_wrap=True)


def _comparisons(space: Space, trial: Trial, other: Trial) -> list[Comparison]:
    """Empty for two designs of the space."""
    if not other.baseline:
        return []
    equal = at_equal_settings(space, trial, other, SimEvaluator(space, {}))
    return [*([compared(space, trial, other)] if other.status == "complete" else []), *([equal] if equal is not None else [])]


def _settings(space: Space, trial: Trial, other: Trial) -> dict[str, Any]:
    """Values of the parameters; where one of the two is a baseline, what the designs say at the same keys."""
    if trial.parameters and other.parameters:
        return trial.parameters
    plain = trial_design(space, trial).to_plain()
    return {p.name: _at(plain, p.keys[0]) for p in space.parameters}


def _at(plain: Any, key: str) -> Any:
    for part in key.split("."):
        plain = plain.get(part) if isinstance(plain, dict) else None
    return plain.get("name") if isinstance(plain, dict) else plain


def _print_times(console: Console, a: Trial, b: Trial, left: list[Position], right: list[Position]) -> None:
    ours, theirs = ({row.name: row.seconds for row in rows} for rows in (left, right))
    table = Table("busy time of", f"trial {a.number}", f"trial {b.number}", "change", box=SIMPLE_HEAD, pad_edge=False)
    names = sorted({*ours, *theirs}, key=lambda n: -max(ours.get(n, 0.0), theirs.get(n, 0.0)))
    for name in names:
        x, y = ours.get(name, 0.0), theirs.get(name, 0.0)
        table.add_row(name, show_seconds(x), show_seconds(y), f"{(y - x) / x:+.1%}" if x else "")
    console.print(table)


def _plain(space: Space, trial: Trial, roofline: list[Position], knobs: list[Change], other: Trial | None,
           other_roofline: list[Position]) -> dict[str, Any]:
    def to_json(t: Trial, rows: list[Position]) -> dict[str, Any]:
        return {"trial": t.number, "status": t.status, "reason": t.reason, "parameters": t.parameters,
                "objectives": t.objectives, "metrics": {ALL_METRICS[m].column: v for m, v in t.metrics.items()
                                                        if m in ALL_METRICS}, "operators": [asdict(row) for row in rows]}

    best = {o.name: best_change(knobs, o.name) for o in space.objectives}
    plain = to_json(trial, roofline)
    plain["knobs"] = [{"parameter": c.parameter, "from": c.before, "to": c.after, "gains": c.gains, "reason": c.reason,
                       "status": c.trial.status if c.trial else "does not exist"} for c in knobs]
    plain["helps_most"] = {name: None if c is None else {"parameter": c.parameter, "to": c.after, "gain": c.gains[name]}
                           for name, c in best.items()}
    design = trial_design(space, trial)
    plain |= {"cost_basis": design.costs.cost_basis, "evidence": asdict(evidence(design.hardware))}
    if other is not None:
        plain["against"] = to_json(other, other_roofline)
        plain["against"]["comparisons"] = [asdict(one) for one in _comparisons(space, trial, other)]
        if noise := objective_noise(space, trial, other):
            plain["against"]["noise_half_widths"] = noise
    return plain
