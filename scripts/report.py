"""The result table of the bench and validate scripts: flat rows {name, value, unit, goal, ok}, printed and kept as JSON."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, object]


def row(name: str, value: float, unit: str = "%", limit: float | None = None, *, absolute: bool = False,
        digits: int | None = 4) -> Row:
    """A measured value and its bar: `value <= limit`, or `|value| <= limit`."""
    goal = "" if limit is None else f"{'|x| ' if absolute else ''}<= {limit:g} {unit}".strip()
    ok = None if limit is None else (abs(value) if absolute else value) <= limit
    return measured(name, float(value), unit, goal, ok, digits=digits)


def measured(name: str, value: float, unit: str = "", goal: str = "", ok: bool | None = None, *, digits: int | None = 4) -> Row:
    """A measured value, whether it meets its `goal` (None: it has none), rounded to `digits` after the point (None: kept whole)."""
    kept = value if digits is None or isinstance(value, int) else round(float(value), digits)
    return {"name": name, "value": kept, "unit": unit, "goal": goal, "ok": None if ok is None else bool(ok)}


def errors(name: str, off: Iterable[float], limit: float | None = None, *, judged: str = "mape", join: str = "/") -> list[Row]:
    """Number, signed median, mean and 90th percentile of absolute relative errors `off` (%), with a bar on the `judged` one."""
    found = np.array(list(off))
    sizes = np.abs(found)
    values = {"mape": sizes.mean(), "median": np.median(found), "p90": np.percentile(sizes, 90)}
    return [*(row(f"{name}{join}{key}", float(value), "%", limit if key == judged else None, absolute=key == "median")
              for key, value in values.items()), row(f"{name}{join}rows", len(found), "")]


def noise(name: str, repeats: Mapping[Any, Sequence[float]], join: str = "/") -> list[Row]:
    """What measurements of the same differ by: mean deviation from their median in per cent, where any were repeated."""
    off = [abs(value / statistics.median(same) - 1) * 100 for same in repeats.values() if len(same) > 1 for value in same]
    return [row(f"{name}{join}noise", statistics.fmean(off), "%")] if off else []


def json_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--json FILE`, for `finish`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")


def show(found: Iterable[Row], width: int = 48) -> list[Row]:
    """Prints rows as they come; returns them. A row of several seeds has its extremes in `least` and `most`."""
    rows = []
    for r in found:
        rows.append(r)
        value = f"{r['value']:,.4f}".rstrip("0").rstrip(".")
        mark = {True: "ok", False: "MISSED", None: ""}[r["ok"]]  # type: ignore[index]
        spread = f"[{r['least']:.3f} .. {r['most']:.3f}]" if "least" in r else ""
        print(f"{r['name']:{width}}  {value:>14} {r['unit']:10} {r['goal']:14} {mark:6} {spread}".rstrip(), flush=True)
    return rows


def finish(rows: list[Row], json_file: Path | None, *, shown: bool = False) -> int:
    """Prints the rows unless they are `shown` already, writes them to `json_file`, returns the exit code: 1 for a missed goal."""
    if not shown:
        show(rows, width=max(len(str(r["name"])) for r in rows))
    if json_file:
        json_file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 1 if any(r["ok"] is False for r in rows) else 0
