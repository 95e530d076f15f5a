"""Rows of `validate_operators.py` for the tables of today's operators: error by table, and by framework and kernel source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scripts.operator_tables import Counted, Timed, counted, read, table_name, timed
from scripts.report import Row, row
from simulator.design.records.hardware import Hardware
from simulator.design.records.kernels import StreamKernel, TileKernel
from simulator.design.records.serving import Parallelism
from simulator.devices.build import build
from simulator.devices.gpu import GpuDevice
from simulator.devices.kernel_constants import Kernels, kernels

BARS = {"mla": 15.0, "window": 15.0, "gemm": 15.0, "experts": 18.0, "gdn": 22.0, "kda": 22.0, "dsa": 22.0, "quantise": 22.0}
FEW = 10  # judged rows below which a kernel source has no bar


def rows_of(path: Path, system: str, hardware: Hardware) -> Iterator[Row]:
    """The rows of a table, of half of its lines: those on which constants were not fitted."""
    name = table_name(path)
    assert name is not None, path
    device = build(hardware, Parallelism()).compute
    assert isinstance(device, GpuDevice) and hardware.gpu is not None
    groups: dict[tuple[str, ...], list[Timed]] = defaultdict(list)
    for found in timed(name, read(path, system)):
        groups[found.key].append(found)
    errors: dict[str, list[np.ndarray]] = defaultdict(list)
    left_out: dict[str, int] = defaultdict(int)
    for key, members in groups.items():
        by_table: dict[str, list[Timed]] = defaultdict(list)
        for member in members:
            by_table[member.name].append(member)
        for table, same in by_table.items():
            judged = counted(same, device)
            real = judged.seconds > judged.floor
            off = 100 * (_predicted(judged, key, kernels(hardware.gpu.operators, key[1])) / judged.seconds - 1)
            for label in (table, f"{table}/{key[1]}/{key[3]}"):
                errors[label].append(off[real & ~judged.fitted])
                left_out[label] += int((~real).sum())
    for label, parts in sorted(errors.items()):
        off = np.concatenate(parts)
        if not len(off):
            continue
        bar = BARS.get(label.partition("_")[0].partition("/")[0]) if len(off) >= FEW else None
        yield row(f"{label}/mape", float(np.abs(off).mean()), "%", bar, digits=2)
        yield row(f"{label}/median", float(np.median(off)), digits=2)
        yield row(f"{label}/rows", len(off), "")
        yield row(f"{label}/beat_physics", left_out[label], "rows")


def _predicted(judged: Counted, key: tuple[str, ...], known: Kernels) -> np.ndarray:
    kind, framework, number_format, kernel = key
    main = _constants(kind, framework, number_format, kernel, known)
    if not judged.indexed:
        return judged.predict(main)
    return judged.predict(main, _constants(kind.replace("sparse", "index"), framework, "fp8", kernel, known))


def _constants(kind: str, framework: str, number_format: str, kernel: str, known: Kernels) -> StreamKernel | TileKernel:
    """Of that kernel; of a kernel that was not calibrated, what serving would take."""
    tile = kind in ("gemm", "experts")
    entries: tuple[StreamKernel | TileKernel, ...] = known.table.tiles if tile else known.table.streams
    same = [e for e in entries if (e.kind, e.framework, e.kernel) == (kind, framework, kernel)]
    if same:
        return max(same, key=lambda entry: entry.format == number_format)
    return known.tile(kind, number_format) if tile else known.stream(kind, number_format)
