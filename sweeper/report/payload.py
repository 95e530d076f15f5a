"""The data of the page as plain JSON: columns of trials, and the findings about a few of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator.design.load import validate
from simulator.results.metrics import ALL_METRICS
from simulator.silicon.money import BASIS_TEXT
from sweeper.explain.against import Comparison, compared, mixed_prices, said
from sweeper.explain.rests import remarks, rests
from sweeper.explain.why import devices
from sweeper.report import columns
from sweeper.report.extras import Extras
from sweeper.report.history import history
from sweeper.report.picks import KNEE_RULE, Pick
from sweeper.space.expressions.grammar import Name
from sweeper.space.parameters import Choices, Grid, Parameter, label
from sweeper.space.portable import portable_plain
from sweeper.space.space import Space
from sweeper.study.digest import Digest
from sweeper.study.folder import SUMMARY_FILE
from sweeper.study.front import dominates, points
from sweeper.study.ledger import Header
from sweeper.study.results import KEY_METRICS, metric_label, objective_column
from sweeper.study.trial import STATUSES, Trial

MAX_SHOWN = 10_000  # trials that the page draws; of more an even choice, with the front and the baselines
MAX_REASONS = 15


def payload(space: Space, header: Header, found: Digest, table: pa.Table, extras: Extras,
            summary: Mapping[str, Any]) -> dict[str, Any]:
    """table: trials.parquet of this study. Numbers of trials are rounded to 32 bits; trials.parquet has them in full."""
    shown = table.take(_shown_rows(found, table)) if table.num_rows > MAX_SHOWN else table
    own = {o.expression.tree.name for o in space.objectives if isinstance(o.expression.tree, Name)}
    metrics = [m for m in KEY_METRICS if m in found.metrics and m not in own]
    return {
        "name": space.name, "description": space.description, "facts": _facts(space, header, found, shown.num_rows),
        "cache": _cache_facts(summary),
        "objectives": [{"name": o.name, "label": o.label, "unit": o.shown_unit, "direction": o.direction, "basis": o.basis}
                       for o in space.objectives],
        "constraints": {c.name: c.expression.text for c in space.constraints},
        "parameters": [_parameter(p) for p in space.parameters],
        "metrics": [{"name": m, "label": metric_label(space, m),
                     "unit": ALL_METRICS[m].unit, "meaning": ALL_METRICS[m].doc} for m in metrics],
        "statuses": STATUSES,
        "trials": _trials(space, shown, metrics),
        "front": [t.number for t in found.front],
        "designs": {"base": portable_plain(validate(space.base)),
                    "baselines": {b.name: portable_plain(b.design) for b in space.baselines}},
        "rests": rests(space, found.kept), "remarks": remarks(space, found.front),
        "decision": {"rule": KNEE_RULE, "picks": [_pick(space, found, pick, extras.against) for pick in extras.picks],
                     "baselines": [_baseline(space, found, t) for t in found.kept if t.baseline]},
        "anatomies": [_anatomy(space, found, a) for a in extras.anatomies],
        "slices": [_slice(space, s) for s in extras.slices], "slicesNote": extras.slices_note,
        "importance": {"note": extras.sample_note, "objectives": [
            {"objective": i.objective, "log": i.log, "fanova": i.fanova, "pedAnova": i.ped_anova} for i in extras.importances]},
        "history": history(space, table),
        "reasons": found.reasons.most_common(MAX_REASONS),
    }


def against(space: Space, trial: Trial, baseline: Trial) -> list[float | None]:
    """For each objective, trial over baseline minus 1; None where there is no such ratio, or amounts are not on one basis."""
    changes = compared(space, trial, baseline).changes
    return [changes.get(o.name) for o in space.objectives]


def _pick(space: Space, found: Digest, pick: Pick, told: Mapping[int, Sequence[Comparison]]) -> dict[str, Any]:
    baselines = [t for t in found.kept if t.baseline and t.status == "complete"]
    return {"number": pick.trial.number, "roles": pick.roles, "devices": devices(space, pick.trial),
            "against": {t.baseline: against(space, pick.trial, t) for t in baselines},
            "compared": [[f"{one.baseline} {one.settings} ({one.devices[1]} against {one.devices[0]} devices)"
                          if one.devices[0] != one.devices[1] else f"{one.baseline} {one.settings}",
                          said(one, space.objectives)] for one in told.get(pick.trial.number, ())],
            "rests": rests(space, [pick.trial]), "remarks": remarks(space, [pick.trial]),
            "dominates": [t.baseline for t in baselines if dominates(*points([pick.trial, t], space.objectives))]}


def _baseline(space: Space, found: Digest, trial: Trial) -> dict[str, Any]:
    complete = trial.status == "complete"
    return {"number": trial.number, "name": trial.baseline, "status": trial.status, "reason": trial.reason[:300],
            "refused": mixed_prices(space, found.front[0], trial) if complete and found.front else "",
            "devices": devices(space, trial), "values": [trial.objectives.get(o.name) for o in space.objectives],
            "beaten": sum(dominates(*points([t, trial], space.objectives)) for t in found.front) if complete else None}


def _anatomy(space: Space, found: Digest, a: Any) -> dict[str, Any]:
    trial = next(t for t in found.kept if t.number == a.number)
    line = None if a.timeline is None else {
        "end": a.timeline.end_s,
        **{name: columns.packed(getattr(a.timeline, name), "f4") for name in ("running", "waiting", "kv_use")}}
    return {"number": a.number, "devices": devices(space, trial), "idle": a.idle, "wall": a.wall_s, "timeline": line,
            "operators": [[name, device, bounds] for name, device, bounds in a.operators]}


def _slice(space: Space, found: Any) -> dict[str, Any]:
    def to_json(step: Any) -> dict[str, Any]:
        trial = step.trial
        if trial is None:
            return {"value": label(step.value), "status": "impossible", "reason": step.reason[:columns.MAX_REASON], "values": None}
        values = [trial.objectives.get(o.name) for o in space.objectives] if trial.objectives else None
        return {"value": label(step.value), "status": trial.status, "reason": trial.reason[:columns.MAX_REASON], "values": values}

    return {"number": found.number, "parameter": found.parameter, "own": found.own, "steps": [to_json(s) for s in found.steps]}


def _shown_rows(found: Digest, table: pa.Table) -> Any:
    step = -(-table.num_rows // MAX_SHOWN)
    kept = pc.is_in(table.column("trial"), value_set=pa.array([t.number for t in found.kept], type=pa.int64())).to_numpy()
    kept[::step] = True
    return np.flatnonzero(kept)


def _trials(space: Space, table: pa.Table, metrics: Sequence[str]) -> dict[str, Any]:
    status = [STATUSES.index(s) for s in table.column("status").to_pylist()]
    values = {m: ALL_METRICS[m].column for m in metrics} | {o.name: objective_column(o) for o in space.objectives}
    trials = {
        "count": table.num_rows, "number": columns.packed(table.column("trial").to_numpy(), "i4"),
        "status": columns.packed(np.array(status), "u1"), "reason": columns.texts(table.column("reason").to_pylist()),
        "baseline": {i: name for i, name in enumerate(table.column("baseline").to_pylist()) if name},
        "values": {name: columns.packed(columns.numbers(table, column), "f4") for name, column in values.items()
                   if column in table.column_names},
        "settings": {p.name: columns.setting(table, p) for p in space.parameters},
    }
    return trials | _certainty(space, table)


def _certainty(space: Space, table: pa.Table) -> dict[str, Any]:
    """Half-widths of the objectives' 95 % intervals, ties and unsure constraints, where the study has replicates."""
    halves = {o.name: f"{o.name}_half_width{objective_column(o).removeprefix(o.name)}" for o in space.objectives}
    found: dict[str, Any] = {"halfWidths": {name: columns.packed(columns.numbers(table, column), "f4")
                                            for name, column in halves.items() if column in table.column_names}}
    for key, column in (("ties", "ties_with"), ("unsure", "unsure")):
        if column in table.column_names:
            found[key] = {i: text for i, text in enumerate(table.column(column).to_pylist()) if text}
    return found if found["halfWidths"] else {}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    """`values`: what the codes stand for, as a design's YAML says it; None for numbers of a continuum."""
    unit = parameter.domain.unit if isinstance(parameter.domain, Grid) else ""
    listed = columns.listed_values(parameter)
    numeric = listed is None or all(isinstance(v, int | float) and not isinstance(v, bool) for v in listed)
    ordered = not isinstance(parameter.domain, Choices) or parameter.domain.ordered
    return {"name": parameter.name, "label": f"{parameter.name} ({unit})" if unit else parameter.name, "unit": unit,
            "keys": parameter.keys, "numeric": numeric, "ordered": ordered, "values": listed,
            "labels": None if listed is None else [label(v) for v in listed],
            "when": parameter.when.text if parameter.when else ""}


def _facts(space: Space, header: Header, found: Digest, drawn: int) -> list[tuple[str, str]]:
    base = validate(space.base)
    status = found.statuses
    size = space.size()
    share = f" ({found.count / size:.2g} of them)" if size and size > found.count else ""
    return [
        ("model", base.model.name), ("workload", base.workload.name),
        ("amounts of money", BASIS_TEXT[base.costs.cost_basis]),
        ("designs in the space", f"{size:,}" if size is not None else "a continuum"),
        ("evaluated", f"{found.count:,}" + (f", {drawn:,} drawn" if drawn < found.count else "") + share),
        ("feasible", f"{status['complete']:,}"), ("infeasible", f"{status['infeasible']:,}"),
        *([("failed", f"{status['failed']:,}")] if status["failed"] else []),
        *([("pruned", f"{status['pruned']:,}")] if status["pruned"] else []),
        *([("taken from earlier trials", f"{found.cached:,}")] if found.cached else []),
        ("on the Pareto front", f"{len(found.front):,}"),
        ("sampler, seed", f"{header.settings.get('sampler', '?')}, {header.seed}"),
        ("space", space.hash), ("code", header.code_version[:16]),
    ]


def _cache_facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The operator-cost cache's counters in words; empty where the study has none."""
    try:
        hits, misses = int(summary["cache_hits"]), int(summary["cache_misses"])
        return [("operator prices looked up", f"{hits + misses:,}"),
                ("found in the cache", f"{hits:,} ({hits / max(hits + misses, 1):.1%})"), ("computed", f"{misses:,}"),
                ("time saved", f"{float(summary['cache_saved_s']):.2f} s"),
                ("cache size", f"{int(summary['cache_bytes']) / 1e6:.2f} MB")]
    except (KeyError, TypeError, ValueError):
        return []


def summary_of(folder: Path) -> dict[str, Any]:
    """What the driver counted; empty where the study has no summary."""
    import json

    try:
        plain = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}
