"""Fits the constants of GPU kernels on measured operators and writes them as an entry of configs/kernels.

    python scripts/fit_kernels.py FOLDER --system h100_sxm --out configs/kernels/sm90.yaml
    python scripts/fit_kernels.py --usual configs/kernels/sm90.yaml configs/kernels/sm100.yaml --out configs/kernels/usual.yaml

FOLDER has the tables of `operator_tables.py`. Constants are fitted on half of the rows (by the hash of a row), with rows left out
that beat DRAM or the peak; `validate_operators.py` judges the other half.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.operator_tables import TABLES, Counted, Timed, counted, read, timed
from scripts.shipped_hardware import SYSTEMS, preset
from simulator.design.records.kernels import KernelTable, StreamKernel, TileKernel
from simulator.design.records.serving import Parallelism
from simulator.devices.build import build
from simulator.devices.gpu import GpuDevice
from simulator.inputs.yaml_file import load_yaml

# (name, start, least, most) of every constant; a launch of more than OPEN_LAUNCH_S is a host's dispatch in the open
STREAM = (("launch_s", 6e-6, 5e-7, 1e-3), ("compute", 0.6, 0.02, 1.0), ("memory", 0.8, 0.05, 1.0), ("block_s", 2e-6, 1e-9, 1e-4),
          ("step_s", 3e-7, 1e-9, 1e-4), ("exposed", 0.1, 3e-4, 1.0))
TILE = (("launch_s", 1e-5, 5e-7, 1e-3), ("compute", 0.5, 0.02, 1.0), ("memory", 0.75, 0.05, 1.0), ("tile_s", 1e-6, 1e-9, 3e-5),
        ("sm_bandwidth_bytes_per_s", 8e10, 3e9, 2e12), ("passes", 1.0, 1e-3, 50.0))
STARTS = (1.0, 2.5)  # factors on the starts
OPEN_LAUNCH_S = 30e-6
SERVED_LAUNCH_S = 4e-6  # of kernels that were timed so: as SGLang and TensorRT-LLM launch the same libraries' in graphs
SHARPNESS = 20
CLEARLY = 0.9  # dispatch in the open is taken where it leaves less than this share of the other form's cost
Key = tuple[str, str, str, str]  # kind, framework, format, kernel
LEAST_ROWS = {"gemm": {"h100_sxm": 16, "b200_sxm": 128}, "experts": {"h100_sxm": 8, "b200_sxm": 8}}
SHOWN = {"launch_s": "us", "block_s": "us", "step_s": "us", "tile_s": "us", "host_s": "us"}
LOOSE = 0.22  # mean error of the other half above which serving avoids a kernel
FEW = 8  # rows below which nothing is fitted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--system", choices=sorted(LEAST_ROWS["gemm"]))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="fit the kinds that begin with this, and write nothing")
    parser.add_argument("--usual", type=Path, nargs="+", metavar="FILE", help="write the means of these tables instead")
    args = parser.parse_args()
    if args.usual:
        args.out.write_text(usual([KernelTable.model_validate(load_yaml(path)) for path in args.usual]))
        return 0
    if args.folder is None or args.system is None:
        parser.error("needs FOLDER and --system, or --usual")
    device = build(preset(SYSTEMS[args.system]), Parallelism()).compute
    assert isinstance(device, GpuDevice)
    groups: dict[Key, list[Timed]] = defaultdict(list)
    for name in TABLES:
        path = args.folder / f"op_{name}.csv.gz"
        if path.is_file():
            for row in timed(name, read(path, args.system)):
                groups[row.key].append(row)
    lines: dict[str, list[tuple[int, str]]] = {"streams": [], "tiles": []}
    for key, rows in sorted(groups.items()):
        if len(rows) < FEW or not key[0].startswith(args.only):
            continue
        found = counted(rows, device)
        tile = key[0] in ("gemm", "experts")
        fitted, error = _fit(found, key, tile, args.system)
        for one, values in zip(_keys(found, key), fitted, strict=True):
            line = _line(one, values, tile, args.system)
            lines["tiles" if tile else "streams"].append((-len(rows), line if error < LOOSE else line[:-1] + ", loose: true}"))
        print(f"{error * 100:6.2f} %  {len(rows):5d}  {' '.join(key)}", flush=True)
    if not args.only:
        _write(args.out, args.system, lines)
    return 0


def _keys(found: Counted, key: Key) -> list[Key]:
    """Of the kernel, and of the indexer beside it."""
    kind, framework, _, kernel = key
    return [key, (kind.replace("sparse", "index"), framework, "fp8", kernel)] if found.indexed else [key]


def _fit(found: Counted, key: Key, tile: bool, system: str) -> tuple[list[dict[str, float]], float]:
    """(constants of each kernel, mean absolute error of the other half)."""
    keys = _keys(found, key)
    names = [b[0] for b in (TILE if tile else STREAM)]
    real = found.seconds > found.floor
    fit = found.fitted & real if (found.fitted & real).sum() >= FEW // 2 else real

    def values(logs: Any, in_open: bool) -> list[dict[str, float]]:
        parts = [dict(zip(names, part, strict=True)) for part in np.exp(logs).reshape(len(keys), -1).tolist()]
        return [{**parts[0], "launch_s": SERVED_LAUNCH_S, "host_s": parts[0]["launch_s"]}, *parts[1:]] if in_open else parts

    def off(logs: Any, in_open: bool, rows: Any = fit) -> Any:
        own = values(logs, in_open)
        host_s = own[0].pop("host_s", 0.0)
        seconds = found.predict(*[_constants(one, part, tile, system) for one, part in zip(keys, own, strict=True)])
        if in_open:  # a maximum whose gradient does not vanish
            seconds = (seconds**SHARPNESS + host_s**SHARPNESS) ** (1 / SHARPNESS)
        return np.log(seconds / found.seconds)[rows]

    best: tuple[Any, bool] | None = None
    hosts_s = float(np.percentile(found.seconds[fit], 10))
    for in_open in (False, True) if hosts_s > OPEN_LAUNCH_S else (False,):
        for factor in STARTS:
            bounds = list((TILE if tile else STREAM) * len(keys))
            if in_open:
                bounds[0] = ("launch_s", hosts_s / factor, hosts_s / 20, hosts_s * 20)
            low, high = (np.log([b[i] for b in bounds]) for i in (2, 3))
            start = np.clip(np.log([b[1] for b in bounds]) + np.log(factor), low + 1e-6, high - 1e-6)
            tried = least_squares(off, start, bounds=(low, high), loss="soft_l1", f_scale=0.1, args=(in_open,))
            if best is None or tried.cost < (best[0].cost if best[1] == in_open else best[0].cost * CLEARLY):
                best = tried, in_open
    assert best is not None
    fitted = values(best[0].x, best[1])
    judged = real & ~found.fitted
    records = [_constants(one, part, tile, system) for one, part in zip(keys, fitted, strict=True)]
    errors = np.abs(found.predict(*records) / found.seconds - 1)[judged]
    return fitted, float(errors.mean()) if judged.any() else float("nan")


def _constants(key: Key, values: dict[str, float], tile: bool, system: str) -> StreamKernel | TileKernel:
    kind, framework, number_format, kernel = key
    extra: dict[str, Any] = {"host_s": None, **({"least_rows": LEAST_ROWS[kind][system]} if tile else {})}
    record = TileKernel if tile else StreamKernel
    return record.model_construct(kind=kind, framework=framework, format=number_format, kernel=kernel, **{**extra, **values})  # type: ignore[return-value]


def _line(key: Key, values: dict[str, float], tile: bool, system: str) -> str:
    kind, framework, number_format, kernel = key
    parts = [f"kind: {kind}", f"framework: {framework}", *([f"format: {number_format}"] if number_format or tile else []),
             f"kernel: {kernel}"]
    if tile:
        parts.append(f"least_rows: {LEAST_ROWS[kind][system]}")
    for name, value in values.items():
        plain = name.removesuffix("_bytes_per_s").removesuffix("_s")
        if name in SHOWN:
            parts.append(f"{plain}: {value * 1e6:.3g} us")
        elif name == "sm_bandwidth_bytes_per_s":
            parts.append(f"{plain}: {value / 1e9:.3g} GB/s")
        else:
            parts.append(f"{plain}: {value:.3g}")
    return "{" + ", ".join(parts) + "}"


def _write(path: Path, system: str, lines: dict[str, list[tuple[int, str]]]) -> None:
    text = [f"# Constants of kernels on {system}, fitted by scripts/fit_kernels.py; the first of a kind, framework and format",
            "# has most measured rows and is what serving uses.",
            'source: "data/silicon_modern (aiconfigurator-core 0.12, Apache-2.0), every second row by hash"']
    for section in ("streams", "tiles"):
        text.append(f"{section}:")
        text += [f"  - {line}" for _, line in sorted(lines[section])]
    path.write_text("\n".join(text) + "\n")


def usual(tables: list[KernelTable]) -> str:
    """The text of the table for GPUs that nobody measured: geometric means of what serving uses in `tables`."""
    text = ["# Constants of kernels on GPUs without a table of their own: geometric means of the first entries of the measured",
            "# ones (scripts/fit_kernels.py --usual).", 'source: "configs/kernels/sm90.yaml and sm100.yaml"']
    for section, bounds in (("streams", STREAM), ("tiles", TILE)):
        found: dict[tuple[str, str, str], list[Any]] = defaultdict(list)
        for table in tables:
            seen = set()
            for entry in getattr(table, section):
                key = (entry.kind, entry.framework, entry.format)
                if key not in seen:
                    found[key].append(entry)
                seen.add(key)
        text.append(f"{section}:")
        for (kind, framework, number_format), entries in sorted(found.items()):
            values = {name: float(np.exp(np.mean([np.log(max(getattr(entry, name), least)) for entry in entries])))
                      for name, _, least, _ in bounds}
            text.append("  - " + _line((kind, framework, number_format, "mean"), values, section == "tiles", "h100_sxm"))
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    sys.exit(main())
