"""Compares a GPU preset with measured operators: GEMM, attention and all-reduce tables.

    python scripts/validate_operators.py FILE [FILE ...] --system h100_sxm [--hardware h100-sxm] [--json FILE]

FILE is a CSV (or .csv.gz) with the columns of GEMM, attention (head_dim 128) or collective measurements: its columns
tell which. Where a column `cold` says that operands lay in the cache (0), as they do not while serving, rows are left out and
counted (`not_cold`); constants of such cards were settled on every second of the others, and `held_out` are the rest. Exits 1
when a bar is missed, 2 when no file has rows of the system.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import Row, finish, json_option, noise, row
from scripts.shipped_hardware import SYSTEMS, preset
from simulator.design.records.hardware import Hardware
from simulator.design.records.serving import Parallelism
from simulator.devices.build import build, link_device
from simulator.devices.device import Device
from simulator.devices.roofline import roofline_s
from simulator.model.operators import Collective, DecodeAttention, Gemm, Operator, PrefillAttention

# Quantising before 8-bit GEMMs as the operators were timed, where serving does it otherwise: TensorRT-LLM's with dynamic scales
# (the largest value sought, scale, cast: kernels of their own; calibrated on these rows), with static ones it is one kernel.
QUANTISE_AS_TIMED_S = {"trtllm": 9.7e-6}
GEMM_BITS: dict[str, tuple[str, int, float | None]] = {"bfloat16": ("gemm_bf16", 16, 8.0), "fp8": ("gemm_fp8", 8, 12.0)}
HELD_OUT_BAR = 12.0  # of rows that a card's constants were not settled on
UNCALIBRATED_BAR = 15.0  # bf16 GEMM from datasheet and default constants
GRAPH_KERNELS = {"vLLM_custom_graph", "SGLang_CustomAllReduce_graph"}
COLLECTIVES: dict[str, tuple[Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all"], str]] = {
    "all_reduce": ("all_reduce", "allreduce"), "all_gather": ("all_gather", "allgather"),
    "reduce_scatter": ("reduce_scatter", "reducescatter"), "alltoall": ("all_to_all", "alltoall")}
ATTENTION_FLOOR_US = 20.0  # below it a measurement is mostly launch

Line = dict[str, str]


class Errors:
    """Relative errors by row name, with bars in percent and how many predictions lie below the roofline."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = defaultdict(list)
        self.bars: dict[str, float | None] = {}
        self.below: dict[str, int] = defaultdict(int)
        self.left_out: dict[str, int] = defaultdict(int)
        self.repeats: dict[str, dict[Hashable, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, name: str, seconds: float, measured_us: float, bar: float | None, floor_s: float = 0.0,
            what: Hashable = None) -> None:
        """`what` was measured: equal where a file has a measurement twice."""
        if what is not None:
            self.repeats[name][what].append(measured_us)
        self.found[name].append(seconds * 1e6 / measured_us - 1)
        self.bars[name] = bar
        self.below[name] += seconds < floor_s

    def rows(self) -> Iterator[Row]:
        for name, values in sorted(self.found.items()):
            off = np.array(values) * 100
            bar = self.bars[name]
            yield row(f"{name}/mape", float(np.abs(off).mean()), "%", bar, digits=2)
            yield row(f"{name}/p90", float(np.percentile(np.abs(off), 90)), digits=2)
            yield row(f"{name}/median", float(np.median(off)), digits=2)
            yield row(f"{name}/below_roofline", 100 * self.below[name] / len(off), "%", 0.0, digits=2)
            yield row(f"{name}/rows", len(off), "")
            yield from noise(name, self.repeats[name])
        for name, count in sorted(self.left_out.items()):
            yield row(f"{name}/not_cold", count, "")


def by_framework(hardware: Hardware) -> dict[str, Device]:
    """The device with the constants of each framework's kernels; vLLM's where a preset has none of a framework."""
    gpu = hardware.gpu
    if gpu is None:
        return defaultdict(lambda: build(hardware, Parallelism()).compute)
    devices: dict[str, Device] = {}
    for name in ("vllm", "sglang", "trtllm"):
        kernels = name if name == "vllm" or getattr(gpu, name) is not None else "vllm"
        chosen = hardware.model_copy(update={"gpu": gpu.model_copy(update={"kernels": kernels})})
        device = build(chosen, Parallelism()).compute
        devices[name] = replace(device, quantise_s=QUANTISE_AS_TIMED_S.get(kernels, device.quantise_s))
    return devices


def datasheet_only(hardware: Hardware) -> Device | None:
    """The device with default constants in place of its calibrated ones; None where it has no others."""
    gpu = hardware.gpu
    if gpu is None or not gpu.calibrated:
        return None
    names = ("compute_efficiency", "compute_efficiency_8bit", "memory_efficiency", "flops_per_l2_byte")
    defaults: dict[str, object] = {name: type(gpu).model_fields[name].default for name in names}
    plain = gpu.model_copy(update={**defaults, "launch_s": _launch_of_uncalibrated(), "calibrated": False})
    return build(hardware.model_copy(update={"gpu": plain}), Parallelism()).compute


def _launch_of_uncalibrated() -> float:
    """What presets without a calibration of their own say."""
    gpu = preset("b200").gpu
    assert gpu is not None
    return gpu.launch_s


def gemms(lines: list[Line], hardware: Hardware, errors: Errors) -> None:
    devices = by_framework(hardware)
    plain = datasheet_only(hardware)
    calibrated = hardware.gpu is not None and hardware.gpu.calibrated
    groups: dict[tuple[str, str, int, int], list[Line]] = defaultdict(list)
    unseen = _held_out(lines)
    for line in lines:
        if line["gemm_dtype"] in GEMM_BITS and line.get("cold", "1") != "1":
            errors.left_out[GEMM_BITS[line["gemm_dtype"]][0]] += 1
        elif line["gemm_dtype"] in GEMM_BITS:
            groups[line["fw"], line["gemm_dtype"], int(line["n"]), int(line["k"])].append(line)
    for (framework, dtype, n, k), same in groups.items():
        name, bits, bar = GEMM_BITS[dtype]
        if not calibrated:
            bar = UNCALIBRATED_BAR if bits == 16 else None
        operator, m = Gemm(n, k, bits, bits), np.array([float(line["m"]) for line in same])
        prices, floors = devices[framework].price(operator, m).seconds, roofline_s(hardware, operator, m)
        for line, seconds, floor_s in zip(same, prices, floors, strict=True):
            errors.add(name, seconds, float(line["us"]), bar, floor_s)
            errors.add(f"{name}_{framework}", seconds, float(line["us"]), None, floor_s)
            if id(line) in unseen:
                errors.add(f"{name}_held_out", seconds, float(line["us"]), HELD_OUT_BAR, floor_s)
        if plain is not None:
            for line, seconds in zip(same, plain.price(operator, m).seconds, strict=True):
                errors.add(f"{name}_datasheet", seconds, float(line["us"]), UNCALIBRATED_BAR if bits == 16 else None)


def _held_out(lines: list[Line]) -> set[int]:
    """Identities of the cold rows of each format on which nothing was settled: every second, by shape."""
    found: set[int] = set()
    for dtype in GEMM_BITS:
        cold = [line for line in lines if line.get("cold") == "1" and line["gemm_dtype"] == dtype]
        found.update(id(line) for line in sorted(cold, key=lambda r: (int(r["n"]), int(r["k"]), int(r["m"])))[1::2])
    return found


def attention(lines: list[Line], hardware: Hardware, errors: Errors) -> None:
    """bf16 attention and cache. A prefill batch of equal sequences is one sequence with all their heads; one of single
    tokens is a decode."""
    devices = by_framework(hardware)
    for line in lines:
        if line["attn_dtype"] != "bfloat16" or line["kv_cache_dtype"] != "bfloat16":
            continue
        if float(line["us"]) < ATTENTION_FLOOR_US or _beats_physics(line):
            continue
        batch, heads, kv = (int(line[c]) for c in ("batch_size", "num_heads", "num_key_value_heads"))
        operator: Operator
        if line["phase"] == "gen":
            operator, axes = DecodeAttention(heads, kv, 128, 16, 16), (batch, int(line["step"]) + 1)
            name, bar = "decode", 10
        elif line["isl"] == "1":
            operator, axes = DecodeAttention(heads, kv, 128, 16, 16), (batch, 1)
            name, bar = "prefill", 12
        else:
            operator, axes = PrefillAttention(batch * heads, batch * kv, 128, 16, 16), (int(line["isl"]), 0)
            name, bar = "prefill", 12
        arrays = [np.array([float(a)]) for a in axes]
        seconds = devices[line["fw"]].price(operator, *arrays).seconds[0]
        floor_s = roofline_s(hardware, operator, *arrays)[0]
        for row_name in (f"attention_{name}", f"attention_{name}_{line['fw']}"):
            errors.add(row_name, seconds, float(line["us"]), bar, floor_s, (line["fw"], line["ver"], operator, axes))


def _beats_physics(line: Line) -> bool:
    """A100 TensorRT-LLM 1.0.0 decode attention is reported at up to 156 % of the DRAM peak: its harness is wrong."""
    return (line["system"], line["fw"], line["ver"], line["phase"]) == ("a100_sxm", "trtllm", "1.0.0", "gen")


def collectives(lines: list[Line], hardware: Hardware, errors: Errors) -> None:
    """All-reduces of NCCL (the common protocol) and of serving engines in a captured graph (both protocols); the other
    collectives of NCCL, on which nothing is calibrated."""
    link = link_device(hardware.link, hardware.max_devices_per_node)
    for line in lines:
        if line["op"] not in COLLECTIVES or line["dtype"] not in ("half", "bfloat16"):
            continue
        nccl = line["kernel_source"] == "NCCL"
        if not nccl and line["kernel_source"] not in GRAPH_KERNELS:
            continue
        size = np.array([2.0 * float(line["elems"])])
        kind, label = COLLECTIVES[line["op"]]
        operator = Collective(kind, int(line["num_gpus"]), 1.0)
        seconds = (replace(link, small=None) if nccl else link).price(operator, size).seconds[0]
        in_switch = kind == "all_reduce" and link.in_network  # sends once what a roofline of rings sends twice
        floor_s = 0.0 if in_switch else roofline_s(hardware, operator, size)[0]
        what = (line["fw"], line["ver"], line["kernel_source"], operator, line["elems"])
        errors.add(label, seconds, float(line["us"]), 15.0 if kind == "all_reduce" else None, floor_s, what)
        if kind == "all_reduce":
            errors.add(f"{label}_{line['fw']}", seconds, float(line["us"]), None, floor_s, what)


KINDS = {"gemm_dtype": gemms, "attn_dtype": attention, "num_gpus": collectives}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--system", required=True, help="rows with this value in the column 'system'")
    parser.add_argument("--hardware", help="entry of configs/hardware (default: the one of the system)")
    json_option(parser)
    args = parser.parse_args()
    hardware = preset(args.hardware or SYSTEMS.get(args.system, args.system))
    errors = Errors()
    for path in args.files:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
            reader = csv.DictReader(file)
            lines = [line for line in reader if line["system"] == args.system]
        for column, compare in KINDS.items():
            if column in (reader.fieldnames or []):
                compare(lines, hardware, errors)
    rows = list(errors.rows())
    if not rows:
        print(f"no rows of system '{args.system}' in {', '.join(map(str, args.files))}", file=sys.stderr)
        return 2
    return finish(rows, args.json)


if __name__ == "__main__":
    sys.exit(main())
