"""Runs every validation and writes the accuracy page.

    python scripts/accuracy.py --out docs/accuracy.md [--data DIR]

--data: the folder of recorded systems and other simulators' results (default: LLMSIM_SHARED, else ../shared). The same
code and data give the same page, byte for byte. Exits 2 when a validation cannot run; bars that are missed are told on
the page.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.accuracy_sections import Section, sections
from scripts.report import Row

ROOT = Path(__file__).resolve().parents[1]

HEAD = """# Accuracy

Written by `python scripts/accuracy.py --out docs/accuracy.md`: every table is what a validation script printed, good or
bad. Each is run with the command above its table on any data in the same format; `$DATA` is the folder that
`LLMSIM_SHARED` names. Errors are simulated over measured: `mape` is the mean of absolute errors in per cent, `median` the
median of signed ones. A cell with a bar says it in brackets; a bar that is missed is bold.

The first table of a section has a line per quantity of the data set: how many rows, the signed median, the mean and the 90th
percentile of absolute errors, the noise of the data (by how much measurements of the same differ, where any are repeated) and
the best peer's mean error on the same rows, where one has been published.
"""

# how tests/docs knows that it need not run the command
SKIPPED = "<!-- test: skip, measures for a while on recorded data; tests/scripts runs these scripts -->"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.md")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LLMSIM_SHARED", ROOT.parent / "shared")), metavar="DIR")
    args = parser.parse_args(argv)
    if not args.data.is_dir():
        print(f"{args.data}: no such folder; set LLMSIM_SHARED or give --data", file=sys.stderr)
        return 2
    found = []
    for section in sections(args.data):
        rows = run(section, args.data)
        if rows is None:
            return 2
        found.append((section, rows))
    args.out.write_text(page(found))
    print(f"{args.out}: {len(found)} tables, {len(missed(found))} bars missed")
    return 0


def run(section: Section, data: Path) -> list[Row] | None:
    """The rows that the section's script writes; None, with its message on stderr, where it cannot run."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, str(ROOT / "scripts" / section.script), *_located(section.arguments, str(data))]
        done = subprocess.run([*command, "--json", str(file)], capture_output=True, text=True, cwd=ROOT)
        if done.returncode not in (0, 1) or not file.is_file():
            print(f"{section.script}: {done.stderr.strip() or 'wrote no rows'}", file=sys.stderr)
            return None
        rows: list[Row] = json.loads(file.read_text())
        return rows


def page(found: list[tuple[Section, list[Row]]]) -> str:
    """The whole page."""
    bars = [r for _, rows in found for r in rows if r["ok"] is not None]
    lines = [HEAD, "## What misses its bar\n"]
    lines.append(f"{sum(bool(r['ok']) for r in bars)} of {len(bars)} bars are met." + (" Missed:\n" if missed(found) else "\n"))
    if missed(found):
        lines += ["| table | row | value | bar |", "| --- | --- | --- | --- |"]
        lines += [f"| {title} | {r['name']} | {_number(r)} {r['unit']} | {_cell(str(r['goal']))} |" for title, r in missed(found)]
        lines.append("")
    for section, rows in found:
        command = " ".join(["python", f"scripts/{section.script}", *_located(section.arguments, "$DATA")])
        judged, others = split(rows)
        lines += [f"## {section.title}\n", f"{section.about}\n", f"{SKIPPED}\n```sh\n{command}\n```\n"]
        lines += [*summary(judged), ""] if judged else []
        zeros, others = nothing(others)
        lines += [*zeros, *([*table(others), ""] if others else [])]
        lines.append(f"{section.why}\n")
    return "\n".join(lines).rstrip() + "\n"


def missed(found: list[tuple[Section, list[Row]]]) -> list[tuple[str, Row]]:
    """(title, row) of every bar that is missed."""
    return [(section.title, r) for section, rows in found for r in rows if r["ok"] is False]


SEVERAL = 4  # sets that a line says at once to have nothing of something
# columns of a section's first table, and the ends of the names of rows that stand there
MEASURES = {"rows": ("rows", "points"), "signed median": ("signed_median", "median"), "MAPE": ("mape",), "p90": ("p90",),
            "noise": ("noise",), "best peer's MAPE": ("mape_peer", "llmcompass_mape")}


def split(rows: list[Row]) -> tuple[dict[str, dict[str, Row]], list[Row]]:
    """(quantity -> column of MEASURES -> row, for every quantity that has a MAPE; the other rows)."""
    named = {str(r["name"]): r for r in rows}
    found: dict[str, dict[str, Row]] = {}
    taken: set[str] = set()
    for start in (name.removesuffix("mape") for name in named if re.search(r"[/_]mape$", name)):
        quantity = start[:-1]
        if re.search(r"[/_](unfitted|held_out|llmcompass)$", quantity) and f"{start}rows" not in named:
            continue  # another MAPE of the same rows
        cells = found.setdefault(quantity, {})
        for column, ends in MEASURES.items():
            name = next((start + end for end in ends if start + end in named), None)
            if name is None and column == "rows":  # counted once for several quantities
                name = next((n for end in ends if (n := f"{quantity.rpartition('/')[0]}/{end}") in named), None)
            if name is not None:
                cells[column] = named[name]
                taken.add(name)
    return found, [r for name, r in named.items() if name not in taken]


def summary(found: dict[str, dict[str, Row]]) -> list[str]:
    """Markdown: a line per quantity."""
    lines = ["| | " + " | ".join(MEASURES) + " |", "| --- " * (len(MEASURES) + 1) + "|"]
    for quantity, cells in found.items():
        shown = [_shown(cells[c]) if c in cells else "-" for c in MEASURES]
        lines.append(f"| {quantity} | " + " | ".join(shown) + " |")
    return lines


def nothing(rows: list[Row]) -> tuple[list[str], list[Row]]:
    """(a line for each measure that is 0 in all of several sets, the rows of the others)."""
    by_measure: dict[str, list[Row]] = {}
    for r in rows:
        by_measure.setdefault(_split(str(r["name"]))[1], []).append(r)
    empty = {m: rs for m, rs in by_measure.items() if len(rs) >= SEVERAL and not any(float(str(r["value"])) for r in rs)}
    lines = [f"`{m}` is {_shown(rs[0])} in all {len(rs)}.\n" for m, rs in empty.items()]
    return lines, [r for r in rows if _split(str(r["name"]))[1] not in empty]


def table(rows: list[Row]) -> list[str]:
    """Markdown: `set/measure` rows as one line per set and one column per measure, units in the cells where they differ."""
    parts = [(*_split(str(r["name"])), r) for r in rows]
    sets, measures = list(dict.fromkeys(p[0] for p in parts)), list(dict.fromkeys(p[1] for p in parts))
    cells = {(name, measure): r for name, measure, r in parts}
    lines = ["| | " + " | ".join(measures) + " |", "| --- " * (len(measures) + 1) + "|"]
    for name in sets:
        line = [_shown(cells[name, m]) if (name, m) in cells else "" for m in measures]
        lines.append(f"| {name} | " + " | ".join(line) + " |")
    return lines


def _split(name: str) -> tuple[str, str]:
    first, _, measure = name.rpartition("/")
    return first or name, measure


def _shown(r: Row) -> str:
    unit = str(r["unit"])
    text = _number(r) + (f" {unit}" if unit else "")
    if r["ok"] is None:
        return text
    bar = f"{text} ({_cell(str(r['goal']).removesuffix(unit).strip())})"
    return bar if r["ok"] else f"**{bar}**"


def _number(r: Row) -> str:
    value = float(str(r["value"]))
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _located(arguments: tuple[str, ...], data: str) -> list[str]:
    return [f"{data}/{a}" if a.startswith(("data/", "oracle/")) else a for a in arguments]


if __name__ == "__main__":
    sys.exit(main())
