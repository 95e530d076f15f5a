"""`python -m simulator import FORMAT SRC DEST`: other people's measurements into operator tables, checked."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from simulator.design import resolve
from simulator.hardware.build import build
from simulator.hardware.gpu import GpuDevice
from simulator.hardware.measured.bind import peaks
from simulator.hardware.measured.check import Finding, check
from simulator.hardware.measured.parquet import write_table
from simulator.hardware.measured.roofline import Peaks
from simulator.hardware.measured.table import KINDS, OperatorTable
from simulator.importers import llmservingsim
from simulator.importers.vllm_run import preset_named
from simulator.inputs.errors import InputError
from simulator.schema.model import Architecture, Precision

FORMATS = ("llmservingsim",)


def import_command(form: str, source: Path, destination: Path, model: str | None, hardware: str | None) -> int:
    """Writes one parquet file per tensor-parallel degree into `destination` and prints what the checks found.

    Raises InputError where the source cannot be read.
    """
    if form not in FORMATS:
        raise InputError(f"unknown format '{form}' (known: {', '.join(FORMATS)})")
    bundle = llmservingsim.read_meta(source)
    arch, limits = _described(model or preset_named(bundle.model, "models"), hardware, bundle.gpu)
    destination.mkdir(parents=True, exist_ok=True)
    console = Console()
    for tensor in bundle.tp_degrees:
        table = llmservingsim.read_table(bundle, arch, Precision(), tensor)
        file = destination / f"tp{tensor}.parquet"
        write_table(table, file)
        console.print(f"{file}: {len(table)} rows, {table.meta['device']}, {table.meta['framework']}, "
                      f"content {table.content_hash[:12]}")
        _print(console, table, check(table, limits))
    if limits is None:
        console.print(f"no hardware preset for '{bundle.gpu}': the roofline was not checked (give --hardware)")
    return 0


def _described(model: str, hardware: str | None, gpu: str) -> tuple[Architecture, Peaks | None]:
    try:
        preset: str | None = hardware or preset_named(gpu, "hardware")
    except InputError:
        preset = None
    design = resolve({"model": model, "hardware": preset or "h100-sxm", "workload": "chat-200"})
    device = build(design.hardware, design.parallelism).compute
    return design.model, peaks(device) if preset is not None and isinstance(device, GpuDevice) else None


def _print(console: Console, table: OperatorTable, findings: list[Finding]) -> None:
    shown = Table("check", "rows", "odd", "of", "first")
    for f in findings:
        shown.add_row(f.check, f.kind, str(f.count), str(f.of), f.example)
    kinds = ", ".join(f"{k} {int((table.columns['kind'] == k).sum())}" for k in KINDS if (table.columns["kind"] == k).any())
    console.print(f"  {kinds}")
    if findings:
        console.print(shown)
    else:
        console.print("  checks passed: units, duplicates, spikes, roofline")
