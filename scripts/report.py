"""What validation scripts print and write: flat rows {name, value, unit, goal, ok}."""

from __future__ import annotations

import json
from pathlib import Path

Row = dict[str, object]


def row(name: str, value: float, unit: str = "%", limit: float | None = None, *, absolute: bool = False) -> Row:
    """A measured value and its bar: `value <= limit`, or `|value| <= limit`."""
    shown = abs(value) if absolute else value
    goal = "" if limit is None else f"{'|x| ' if absolute else ''}<= {limit:g} {unit}".strip()
    return {"name": name, "value": round(float(value), 4), "unit": unit, "goal": goal,
            "ok": None if limit is None else bool(shown <= limit)}


def finish(rows: list[Row], json_file: Path | None) -> int:
    """Prints the rows, writes them to `json_file`, returns the exit code: 1 when a bar is missed."""
    width = max(len(str(r["name"])) for r in rows)
    for r in rows:
        mark = {True: "ok", False: "MISSED", None: ""}[r["ok"]]  # type: ignore[index]
        print(f"{r['name']:{width}}  {r['value']:>12,} {r['unit']:10} {r['goal']:14} {mark}")
    if json_file:
        json_file.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if any(r["ok"] is False for r in rows) else 0
