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
        lines += [f"## {section.title}\n", f"{section.about}\n", f"{SKIPPED}\n```sh\n{command}\n```\n", *table(rows), "",
                  f"{section.why}\n"]
    return "\n".join(lines).rstrip() + "\n"


def missed(found: list[tuple[Section, list[Row]]]) -> list[tuple[str, Row]]:
    """(title, row) of every bar that is missed."""
    return [(section.title, r) for section, rows in found for r in rows if r["ok"] is False]


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
