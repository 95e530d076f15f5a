"""Compares predicted die areas, board power and cost of making with chips that shipped.

    python scripts/validate_silicon.py [FILE] [--json FILE]

FILE: chips in the format of silicon_chips.csv (the default): what is on the dies, area and board power, each with its
role: `fit`, its constants were settled on it; `test`, judged only. Rows of the bars are of `test` chips. Cost of making:
published estimates for five GPUs, of which H100 and B200 set two constants.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import Row, finish, json_option, row
from scripts.report import errors as error_rows
from simulator.design.load import load_costs, load_hardware
from simulator.design.records.silicon import Silicon
from simulator.silicon.area import MIB, Parts, die_area
from simulator.silicon.money import made
from simulator.silicon.power import matrix_board_w

CHIPS = Path(__file__).with_name("silicon_chips.csv")
STACKS = {"MI300X": 8, "MI355X": 8, "H200": 6, "B200": 8, "Gaudi 2": 6, "Gaudi 3": 8}  # whose dies are not modelled

# USD (siliconanalysts; Epoch AI's breakdown of a B200): estimates of the same two sources, so this tests consistency
COGS = {"h100-sxm": (3320, "fit"), "b200": (6400, "fit"), "h200-sxm": (4250, "test"), "mi300x": (5300, "test"),
        "mi355x": (8000, "test")}

Errors = dict[str, dict[str, float]]  # role -> chip -> error, %


def predicted_mm2(chip: dict[str, str]) -> float:
    """Area of the chip's dies."""
    parts = Parts(int(chip["process_nm"]), float(chip["macs"]), float(chip["lanes"]), float(chip["cores"]),
                  float(chip["sram_mib"]) * MIB, float(chip["stacks"]), float(chip["ddr_words"]),
                  float(chip["link_gb_per_s"]) * 1e9, float(chip["host_lanes"]), int(chip["dies"]))
    return die_area(parts, Silicon()).total  # type: ignore[arg-type]


def predicted_w(chip: dict[str, str]) -> float:
    """Board power at full matrix load, from the real area: area errors are judged apart."""
    stacks = float(chip["stacks"] or STACKS.get(chip["chip"], 0)) or float(chip["ddr_words"] or 0)
    return matrix_board_w(float(chip["board_mm2"]), int(chip["process_nm"]), float(chip["tflops"]) * 1e12,
                          float(chip["tb_per_s"]) * 1e12, chip["kind"], stacks, Silicon(low_voltage=chip["low_voltage"] == "1"))


def errors(chips: list[dict[str, str]]) -> tuple[Errors, Errors]:
    """(of area, of board power), a line printed for each chip."""
    area: Errors = {"fit": {}, "test": {}}
    power: Errors = {"fit": {}, "test": {}}
    print(f"{'chip':12} {'nm':>3} {'role':5} {'mm2':>6} {'real':>6} {'error':>7}   {'role':5} {'W':>6} {'TDP':>6} {'error':>7}")
    for chip in chips:
        cells = [f"{'':27}", f"{'':27}"]
        judged = ((chip["area_role"], predicted_mm2, "area_mm2"), (chip["tdp_role"], predicted_w, "tdp_w"))
        for i, (role, found, real) in enumerate(judged):
            if role:
                value, true = found(chip), float(chip[real])
                off = (value / true - 1) * 100
                (area, power)[i][role][chip["chip"]] = off
                cells[i] = f"{role:5} {value:6,.0f} {true:6,.0f} {off:+6.0f}%"
        print(f"{chip['chip']:12} {chip['process_nm']:>3} {cells[0]}   {cells[1]}")
    return area, power


def quantity(name: str, found: Errors, within: float, least: float, median: float | None) -> list[Row]:
    rows = []
    for role, prefix in (("test", name), ("fit", f"{name}/fitted")):
        off = np.abs(list(found[role].values()))
        if not len(off):
            continue
        judged = role == "test"
        rows += [row(f"{prefix}/median_abs_error", float(np.median(off)), "%", median if judged else None),
                 at_least(f"{prefix}/within_{within:g}_pct", float((off <= within).mean() * 100), least if judged else None),
                 row(f"{prefix}/worst", float(off.max()), "%"), row(f"{prefix}/chips", len(off), "")]
        rows += error_rows(prefix, found[role].values())
    return rows


def at_least(name: str, value: float, limit: float | None) -> Row:
    return {"name": name, "value": round(value, 4), "unit": "%", "goal": "" if limit is None else f">= {limit:g} %",
            "ok": None if limit is None else value >= limit}


def cogs() -> list[Row]:
    costs = load_costs("default")
    rows = []
    print(f"\n{'cost of making':12} {'role':>6} {'USD':>7} {'published':>9} {'error':>7}")
    for name, (usd, role) in COGS.items():
        value = made(load_hardware(name, {}), costs).cost_usd
        off = (value / usd - 1) * 100
        print(f"{name:14} {role:>6} {value:7,.0f} {usd:9,} {off:+6.0f}%")
        rows.append(row(f"cogs/{name}/error", off, "%", 20 if role == "test" else None, absolute=True))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, nargs="?", default=CHIPS, metavar="FILE")
    json_option(parser)
    args = parser.parse_args()
    with args.file.open(newline="", encoding="utf-8") as file:
        area, power = errors(list(csv.DictReader(file)))
    rows = [*quantity("area", area, 15, 70, 12), *quantity("tdp", power, 20, 60, None), *cogs()]
    print()
    return finish(rows, args.json)


if __name__ == "__main__":
    sys.exit(main())
