"""`report.html`: one file that explains a study, with all data and plotly.js inside; it opens without a network.

This module only gathers the data; `report_page/` holds the page (HTML, CSS, JavaScript), which builds every text with
`textContent`, so nothing from a study is ever read as HTML.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from simulator.design import validate
from simulator.metrics import ALL_METRICS
from sweeper.digest import Digest
from sweeper.grammar import Name
from sweeper.parameters import Choices, Parameter, label
from sweeper.pareto import convergence, points
from sweeper.results import KEY_METRICS, MAX_BEST, ties_both_ways
from sweeper.space import Space
from sweeper.trial import Trial

SUMMARY_FILE = "summary.json"  # what the driver counted, where the study has it


def write_report(folder: Path, space: Space, found: Digest) -> Path:
    """Writes `report.html` into the study's folder and returns its path.

    It draws every trial, or of more than digest.MAX_SAMPLE an even sample with the whole front.
    """
    from plotly.offline import get_plotlyjs

    page = files("sweeper") / "report_page"
    parts = {
        "TITLE": escape(f"{space.name}: design-space exploration"),
        "STYLE": (page / "page.css").read_text(encoding="utf-8"),
        "PLOTLY": get_plotlyjs(),
        "DATA": _script_safe(report_data(space, found, _summary(folder))),
        "PAGE": (page / "page.js").read_text(encoding="utf-8"),
    }
    text = (page / "page.html").read_text(encoding="utf-8")
    for name in ("TITLE", "STYLE", "DATA", "PAGE", "PLOTLY"):  # the largest last: it is not searched again
        text = text.replace(f"@@{name}@@", parts[name], 1)
    path = folder / "report.html"
    fresh = folder / "report.html.new"
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
    return path


def report_data(space: Space, found: Digest, summary: dict[str, Any]) -> dict[str, Any]:
    """All the page shows, as plain JSON data. Numbers are rounded to 6 digits; trials.parquet has them in full."""
    ordered = found.sample()
    pareto = found.front
    on_front = {t.number for t in pareto}
    metrics = [m for m in KEY_METRICS if any(m in t.metrics for t in ordered)]
    own = {o.expression.tree.name for o in space.objectives if isinstance(o.expression.tree, Name)}
    return {
        "name": space.name, "description": space.description, "maxBest": MAX_BEST,
        "facts": _facts(space, found, len(ordered)), "cache": _cache_facts(summary),
        "objectives": [{"name": o.name, "label": o.label, "direction": o.direction} for o in space.objectives],
        "constraints": [c.expression.text for c in space.constraints],
        "parameters": [_parameter(p) for p in space.parameters],
        "metrics": [{"name": m, "label": f"{m} ({ALL_METRICS[m].unit})" if ALL_METRICS[m].unit else m}
                    for m in metrics if m not in own],
        "trials": {
            "number": [t.number for t in ordered], "status": [t.status for t in ordered],
            "reason": [t.reason[:300] for t in ordered], "baseline": [t.baseline for t in ordered],
            "pareto": [t.number in on_front for t in ordered], "cached": [t.cached for t in ordered],
            "values": {
                **{m: [_round(t.metrics.get(m)) for t in ordered] for m in metrics if m not in own},
                **{o.name: [_round(t.objectives.get(o.name)) for t in ordered] for o in space.objectives}},
            "settings": {p.name: [_setting(t, p) for t in ordered] for p in space.parameters},
            **(_noise(space, found, ordered) if space.replicates > 1 else {}),
        },
        "replicates": space.replicates,
        "front": [t.number for t in pareto],
        "convergence": _convergence(space, ordered),
        "reasons": found.reasons.most_common(15),
        "baselines": _baselines(space, ordered, pareto),
    }


def _noise(space: Space, found: Digest, ordered: Sequence[Trial]) -> dict[str, Any]:
    """Half-widths of the objectives' 95 % intervals, the trials that each ties with, constraints that may hold or not."""
    ties = ties_both_ways(found)
    return {"halfWidths": {o.name: [_round(t.half_width(o.name)) for t in ordered] for o in space.objectives},
            "tiesWith": [ties.get(t.number, []) for t in ordered], "unsure": [t.unsure for t in ordered]}


def _facts(space: Space, found: Digest, drawn: int) -> list[tuple[str, str]]:
    base = validate(space.base)
    status = found.statuses
    size = space.size()
    return [
        ("model", base.model.name), ("workload", base.workload.name),
        ("designs in the space", f"{size:,}" if size is not None else "a continuum"),
        *([("replicates of each design", str(space.replicates))] if space.replicates > 1 else []),
        ("evaluated", f"{found.count:,}" + (f" ({drawn:,} drawn)" if drawn < found.count else "")),
        ("feasible", f"{status['complete']:,}"),
        ("infeasible", f"{status['infeasible']:,}"), ("failed", f"{status['failed']:,}"),
        *([("pruned", f"{status['pruned']:,}")] if status["pruned"] else []),
        ("served from earlier trials", f"{found.cached:,}"),
        ("on the Pareto front", f"{len(found.front):,}"), ("space hash", space.hash),
    ]


def _cache_facts(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """The operator-cost cache's counters in words; empty where the study has none."""
    try:
        hits, misses = int(summary["cache_hits"]), int(summary["cache_misses"])
        return [("operator prices looked up", f"{hits + misses:,}"),
                ("found in the cache", f"{hits:,} ({hits / max(hits + misses, 1):.1%})"), ("computed", f"{misses:,}"),
                ("time saved", f"{float(summary['cache_saved_s']):.2f} s"),
                ("cache size", f"{int(summary['cache_bytes']) / 1e6:.2f} MB")]
    except (KeyError, TypeError, ValueError):
        return []


def _summary(folder: Path) -> dict[str, Any]:
    try:
        plain = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    """How a parameter is drawn: as a number, or as one of its labels in order."""
    numeric = not isinstance(parameter.domain, Choices) or all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in parameter.domain.values)
    labels = [label(v) for v in parameter.domain.values] if isinstance(parameter.domain, Choices) else None
    unit = "" if isinstance(parameter.domain, Choices) else parameter.domain.unit
    return {"name": parameter.name, "label": f"{parameter.name} ({unit})" if unit else parameter.name,
            "numeric": numeric, "labels": labels}


def _setting(trial: Trial, parameter: Parameter) -> Any:
    value = trial.parameters.get(parameter.name)
    return value if value is None or (isinstance(value, int | float) and not isinstance(value, bool)) else label(value)


def _convergence(space: Space, trials: Sequence[Trial]) -> list[tuple[int, float]]:
    """(trials evaluated, share of the final hypervolume)."""
    steps = convergence(trials, space.objectives)
    if not steps or steps[-1][1] <= 0:
        return []
    last = max(t.number for t in trials)
    return [(number, round(volume / steps[-1][1], 6)) for number, volume in [*steps, (last, steps[-1][1])]]


def _baselines(space: Space, trials: Sequence[Trial], pareto: Sequence[Trial]) -> list[dict[str, Any]]:
    """Each baseline's objectives, how far the best design of each beats it, and how many beat it in all."""
    rows = []
    table = points(pareto, space.objectives)
    for trial in (t for t in trials if t.baseline):
        row: dict[str, Any] = {"name": trial.baseline, "number": trial.number, "status": trial.status,
                               "reason": trial.reason[:300],
                               "values": [_round(trial.objectives.get(o.name)) for o in space.objectives],
                               "deltas": [], "dominated": None}
        if trial.status == "complete" and len(pareto):
            own = points([trial], space.objectives)[0]
            row["dominated"] = int(((table <= own).all(axis=1) & (table < own).any(axis=1)).sum())
            best = table.min(axis=0)
            row["deltas"] = [_round((b - o) / abs(o) * (1 if objective.direction == "minimize" else -1)) if o else None
                             for b, o, objective in zip(best, own, space.objectives, strict=True)]
        rows.append(row)
    return rows


def _round(value: float | None) -> float | None:
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _script_safe(data: dict[str, Any]) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").replace("@@", "@\\u0040")
