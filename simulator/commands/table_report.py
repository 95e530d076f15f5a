"""The check report of a new operator table, printed and saved next to the table as `NAME.report.json`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from simulator.design.load import resolve
from simulator.devices.build import build
from simulator.devices.gpu import GpuDevice
from simulator.devices.measured.bind import gpu_peaks
from simulator.devices.measured.check import Finding, check
from simulator.devices.measured.table import KINDS, OperatorTable
from simulator.devices.roofline import Peaks
from simulator.inputs.errors import InputError
from simulator.recorded.vllm_run import preset_named


def report_findings(table: OperatorTable, file: Path, hardware: str | None) -> list[Finding]:
    """Checks `table`, just written to `file`, against itself and the roofline of `hardware` (default: the preset that
    its metadata name, else that of its device's name); prints and stores the report."""
    preset = hardware or table.meta.get("hardware") or _preset(table.meta.get("device", ""))
    findings = check(table, _peaks(preset) if preset else None)
    counts = {kind: int((table.columns["kind"] == kind).sum()) for kind in KINDS}
    counts = {kind: count for kind, count in counts.items() if count}
    report = {"table": file.name, "content_hash": table.content_hash, "rows": counts, "roofline_of": preset,
              "findings": [dataclasses.asdict(f) for f in findings], "meta": dict(table.meta)}
    file.with_suffix(".report.json").write_text(json.dumps(report, indent=1) + "\n")
    _print(table, file, counts, findings, preset)
    return findings


def _preset(device: str) -> str | None:
    try:
        return preset_named(device, "hardware") if device else None
    except InputError:
        return None


def _peaks(preset: str) -> Peaks | None:
    design = resolve({"model": "llama-3.1-8b", "hardware": preset, "workload": "chat-200"})
    device = build(design.hardware, design.parallelism).compute
    return gpu_peaks(device) if isinstance(device, GpuDevice) else None


def _print(table: OperatorTable, file: Path, counts: dict[str, int], findings: list[Finding], preset: str | None) -> None:
    console = Console(soft_wrap=True)
    console.print(f"{file}: {len(table)} rows, {table.meta.get('device') or 'unknown device'}, "
                  f"{table.meta.get('framework') or 'unknown framework'}, content {table.content_hash[:12]}")
    console.print("  " + ", ".join(f"{kind} {count}" for kind, count in counts.items()))
    if findings:
        shown = Table("check", "rows", "odd", "of", "first")
        for f in findings:
            shown.add_row(f.check, f.kind, str(f.count), str(f.of), f.example)
        console.print(shown)
    else:
        console.print("  checks passed: units, duplicates, spikes, holes" + (", roofline" if preset else ""))
    if preset is None:
        console.print(f"  no hardware preset for '{table.meta.get('device', '')}': roofline not checked (give --hardware)")
