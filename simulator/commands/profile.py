"""`python -m simulator profile` measures a model's operators on this machine and writes an operator table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulator.commands.table_report import report_findings as report
from simulator.design.load import resolve
from simulator.design.records.model import Architecture
from simulator.devices.measured.parquet import write_table
from simulator.inputs.errors import InputError
from simulator.model.checks import split_violations
from simulator.profiling.machine import clocks, device_name
from simulator.profiling.plan import LargestShapes, Point
from simulator.profiling.profile import begin, profile, table_of, with_torch
from simulator.profiling.torch_calls import has_paged_kernel

CPU_KV_BYTES = 1e9  # a CPU's memory is shared with all else


def profile_command(model: str, device: str, tensor: int, out: Path, *, launch: str | None = None, repeats: int = 30,
                    max_tokens: int = 8192, max_sequences: int = 256, max_context: int = 32768,
                    hardware: str | None = None) -> int:
    """Measures what `out` lacks of the profile of one tensor-parallel degree and writes `tpN.parquet` with its report.

    Raises InputError where PyTorch, the device or the model is not there, or `out` holds another profile.
    """
    for name, value in (("--repeats", repeats), ("--max-tokens", max_tokens), ("--max-sequences", max_sequences),
                        ("--max-context", max_context), ("--tp", tensor)):
        if value < 1:
            raise InputError(f"is {value}; must be at least 1", key=name)
    arch = _shardable(model, tensor)
    torch = _torch(device, tensor)
    launch = launch or ("graph" if device == "cuda" else "eager")
    if launch == "graph" and device == "cpu":
        raise InputError("a CPU has no CUDA graphs; use eager", key="--launch")
    kv_bytes = CPU_KV_BYTES if device == "cpu" else torch.cuda.get_device_properties(0).total_memory / 4
    limits = LargestShapes(max_tokens, max_sequences, max_context, kv_bytes)
    header = {"device": device_name(torch, device), "framework": f"torch {torch.__version__}", "model": arch.name,
              "launch": launch, "tensor_parallel": str(tensor), "dtype": "bf16",
              "attention": "flash_attn, paged" if has_paged_kernel(device) else "scaled_dot_product_attention"}
    points, journal = begin(out, arch, tensor, limits, header)
    before = clocks(device)
    profile(points, journal, *with_torch(torch, arch, device, launch, repeats), _progress(sys.stderr.isatty()))
    meta = {**header, "launch": "CUDA graph" if launch == "graph" else "eager", "source": "python -m simulator profile",
            "time": "wall" if device == "cpu" else "CUDA events", "fidelity": "measured"}
    if hardware:
        meta["hardware"] = hardware
    if before:
        meta["clocks"] = f"{before} before, {clocks(device)} after"
    table = table_of(points, journal, meta)
    write_table(table, out / f"tp{tensor}.parquet")
    report(table, out / f"tp{tensor}.parquet", hardware)
    skipped = sum("skipped" in journal.finished[p.key] for p in points)
    if skipped:
        print(f"  {skipped} of {len(points)} points did not fit memory")
    return 0


def _shardable(model: str, tensor: int) -> Architecture:
    arch = resolve({"model": model, "hardware": "h100-sxm", "workload": "chat-200"}).model
    broken = split_violations(arch, tensor, 1)
    if broken:
        raise InputError(f"{arch.name} cannot be split over {tensor} ranks: {broken[0]}", key="--tp")
    return arch


def _torch(device: str, tensor: int) -> Any:
    try:
        import torch
    except ImportError as error:
        raise InputError("PyTorch is not installed: pip install 'llm-serving-sweeper[profile]'") from error
    if device == "cuda":
        if not torch.cuda.is_available():
            raise InputError("PyTorch sees no CUDA device here; use --device cpu", key="--device")
        if torch.cuda.device_count() < tensor:
            raise InputError(f"{tensor} ranks need as many GPUs for their all-reduce, here are {torch.cuda.device_count()}",
                             key="--tp")
    torch.manual_seed(0)
    return torch


def _progress(live: bool) -> Callable[[int, int, Point], None]:
    """Tells every point on a terminal, every new operator elsewhere."""
    names: set[str] = set()

    def show_progress(done: int, of: int, point: Point) -> None:
        if live or point.name not in names:
            names.add(point.name)
            line = f"{done:5} of {of}  {point.name} {' x '.join(map(str, point.axes))}"
            print(f"\r{line}".ljust(79) if live else line, end="" if live else "\n", file=sys.stderr, flush=True)

    return show_progress
