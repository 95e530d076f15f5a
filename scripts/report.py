"""The result table of the bench and validate scripts: flat rows {name, value, unit, goal, ok}, printed and kept as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

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
