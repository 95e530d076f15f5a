"""Compares the hardware models with cycle-level simulators, published models and measurements.

    python scripts/validate_hardware.py DIR [--json FILE]

DIR holds scalesim_*.csv, attacc_pim_attention.csv, neupims_layer.csv, llmcompass_allreduce.csv,
llmcompass_ops.csv and llmcompass_die_area_validation.csv (any subset). Exits 1 when a bar is missed, 2 when DIR has none of them.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import Row, finish, json_option, row
from scripts.shipped_hardware import device
from simulator.design.records.silicon import Silicon
from simulator.devices.links import LinkDevice, Protocol
from simulator.devices.newton import NewtonChannel
from simulator.devices.newton import attention_cycles as newton_cycles
from simulator.devices.pim_timing import TIMINGS, attention_cycles
from simulator.devices.systolic import gemm_cycles
from simulator.model.operators import Collective, Gemm, Operator, Vector
from simulator.silicon.area import MIB, Parts, die_area

DATAFLOW = {"os": "output_stationary", "ws": "weight_stationary", "is": "input_stationary"}
UNIT = {"bank": "bank", "bg": "bank_group", "buffer": "buffer"}

# The machine of LLMCompass' all-reduce table: 4 A100, PyTorch and its NCCL. Calibrated on that table: launch from its
# 8 B row, chunk overhead from 16 KiB to 1 MiB, the bulk protocol's launch from 2 MiB on, bandwidth from the last row.
LLMCOMPASS_LINK = LinkDevice(
    "ring", bulk=Protocol(bandwidth_bytes_per_s=248.3e9, latency_s=0.0, launch_s=58e-6),
    small=Protocol(bandwidth_bytes_per_s=248.3e9, latency_s=0.0, launch_s=12.5e-6, chunk_overhead_s=64e-6))

# Start of an operator in LLMCompass' measurements, PyTorch without graphs (hardware_model/compute_module.py, A100).
EAGER_LAUNCH_S = {"matmul": 21e-6, "softmax": 12e-6, "layernorm": 45e-6, "gelu": 45e-6}
# (FLOPs, exps, reads) per 16-bit element: online softmax; mean, variance and scale; tanh form
ELEMENTWISE = {"softmax": (4.0, 1.0, 1.0), "layernorm": (8.0, 0.0, 1.0), "gelu": (8.0, 1.0, 1.0)}

Table = list[dict[str, str]]


def errors(name: str, found: list[float], reference: list[float], mape: float | None,
           worst: float | None = None) -> Iterator[Row]:
    """Rows of a comparison: mean and worst absolute error, and which way it leans, in percent."""
    off = (np.array(found) / np.array(reference) - 1) * 100
    yield row(f"{name}/mape", float(np.abs(off).mean()), "%", mape)
    yield row(f"{name}/worst", float(np.abs(off).max()), "%", worst)
    yield row(f"{name}/median", float(np.median(off)), "%", None)
    yield row(f"{name}/p90", float(np.percentile(np.abs(off), 90)), "%", None)
    yield row(f"{name}/rows", len(off), "", None)


def scalesim(tables: dict[str, Table]) -> Iterator[Row]:
    """Compute cycles of single GEMMs, exact (SCALE-Sim prints the index of the last cycle)."""
    wrong = rows = 0
    for file, column in (("scalesim_gemm_cycles.csv", "total_cycles"),
                         ("scalesim_validation.csv", "scalesim_total_cycles")):
        for r in tables.get(file, []):
            cycles = gemm_cycles(np.array([float(r["M"])]), int(r["N"]), int(r["K"]), int(r["array_rows"]),
                                 int(r["array_cols"]), DATAFLOW[r["dataflow"]], pipelined=False)  # type: ignore[arg-type]
            wrong += int(cycles[0]) - 1 != int(r[column])
            rows += 1
    if rows:
        yield row("scalesim/mismatches", wrong, "rows", 0)
        yield row("scalesim/rows", rows, "", None)


def attacc(tables: dict[str, Table]) -> Iterator[Row]:
    """Decode attention in one HBM3 stack, reruns of AttAcc's Ramulator at 512 tokens and more."""
    found: dict[str, list[float]] = {}
    reference: dict[str, list[float]] = {}
    for r in tables.get("attacc_pim_attention.csv", []):
        if r["source"] != "rerun" or int(r["seq_len"]) < 512:
            continue
        cycles = attention_cycles(
            TIMINGS["HBM3"], UNIT[r["pim"]], power_limited=r["power_constraint"] == "True",  # type: ignore[arg-type]
            heads=np.array([float(r["heads_per_hbm"])]), context=np.array([float(r["seq_len"])]),
            head_dim=int(r["dhead"]), element_bytes=float(r["dbyte"]))
        for name in ("attacc", f"attacc_{UNIT[r['pim']]}"):
            found.setdefault(name, []).append(float(cycles[0]))
            reference.setdefault(name, []).append(float(r["cycles"]))
    for name in found:
        yield from errors(name, found[name], reference[name], mape=2, worst=6)


def neupims(tables: dict[str, Table]) -> Iterator[Row]:
    """Attention cycles of NeuPIMs, equal requests dealt over 32 channels, 8 heads of 128: with dual row buffers, and with
    single ones as its `npu+pim` branch has them (without that branch's limit of one command a cycle for all channels)."""
    for name, mode, channel, bar in (
            ("neupims", "neupims", NewtonChannel(), 3.0),
            ("neupims_single", "npu+pim(newton), issue limit removed", NewtonChannel(dual_row_buffer=False), None)):
        rows = [r for r in tables.get("neupims_layer.csv", [])
                if r["mode"] == mode and r["model"] == "T1K" and r["seq_len"].isdigit()]
        if rows:
            found = [-(-int(r["batch"]) // 32) * float(newton_cycles(channel, np.array([float(r["seq_len"])]), 8, 128)[0])
                     for r in rows]
            yield from errors(name, found, [float(r["mha_cycles"]) for r in rows], mape=bar)


def allreduce(tables: dict[str, Table]) -> Iterator[Row]:
    """LLMCompass' measured all-reduces on 4 A100, 4 KiB and larger."""
    rows = [r for r in tables.get("llmcompass_allreduce.csv", []) if int(r["bytes"]) >= 4096]
    if rows:
        sizes = np.array([float(r["bytes"]) for r in rows])
        found = LLMCOMPASS_LINK.price(Collective("all_reduce", 4, 1.0), sizes).seconds * 1e6
        measured = [float(r["measured_us_A100x4_nvlink3"]) for r in rows]
        yield from errors("llmcompass_allreduce", list(found), measured, mape=12)


def a100_operators(tables: dict[str, Table]) -> Iterator[Row]:
    """LLMCompass' measured A100 operators (PyTorch, 2023), on which nothing here is calibrated: the preset with the
    launches that LLMCompass gives for that framework. Its own simulator's error on the same rows stands beside it."""
    a100 = device("a100-80gb")
    for op, launch_s in EAGER_LAUNCH_S.items():
        rows = [r for r in tables.get("llmcompass_ops.csv", [])
                if (r["op"], r["device"]) == (op, "A100") and r["measured_s"]]
        if not rows:
            continue
        found = []
        for r in rows:
            width = int(r["N"] or 1)
            operator: Operator = Gemm(width, int(r["K"] or 1), 16, 16)
            if op != "matmul":
                flops, exps, reads = ELEMENTWISE[op]
                operator = Vector(width, flops, exps, 2.0 * reads * width, 2.0 * width)
            seconds = a100.price(operator, np.array([float(r["M"])])).seconds[0]
            found.append(float(seconds) - a100.launch_s + launch_s)
        yield from errors(f"llmcompass_a100_{op}", found, [float(r["measured_s"]) for r in rows], mape=None)
        peer = [abs(float(r["llmcompass_err_pct"])) for r in rows if r["llmcompass_err_pct"]]
        yield row(f"llmcompass_a100_{op}/llmcompass_mape", float(np.mean(peer)), "%", None)


def npu_gemms(tables: dict[str, Table]) -> Iterator[Row]:
    """GEMMs of GPT3-7B at TP 4 in NeuPIMs' cycle-level simulation, where PIM does not use the memory beside them."""
    npu, hidden, tensor = device("neupims"), 4096, 4
    shapes = {"qkv_cycles": (3 * hidden // tensor, hidden), "proj_cycles": (hidden, hidden // tensor),
              "fc1_cycles": (4 * hidden // tensor, hidden), "fc2_cycles": (hidden, 4 * hidden // tensor)}
    found, simulated = [], []
    for r in tables.get("neupims_layer.csv", []):
        if r["model"] != "GPT3-7B tp4" or r["mode"] not in ("neupims", "npu-only") or r["sub_batch"] == "on":
            continue
        for column, (n, k) in shapes.items():
            seconds = npu.price(Gemm(n, k, 16, 16), np.array([float(r["batch"])])).seconds[0] - npu.launch_s
            found.append(float(seconds) * npu.clock_hz)
            simulated.append(float(r[column]))
    if found:
        yield from errors("neupims_gemm", found, simulated, mape=5)


def ga100_area(tables: dict[str, Table]) -> Iterator[Row]:
    """Die of NVIDIA GA100: 128 SMs of 1,024 MACs and 448 KiB, 48 MiB L2, 6 HBM2E stacks, 12 NVLink3, 7 nm."""
    for r in tables.get("llmcompass_die_area_validation.csv", []):
        if r["component"] == "TOTAL":
            parts = Parts(7, macs=128 * 1024, cores=128, sram_bytes=104 * MIB, stacks=6, link_bytes_per_s=300e9)
            die = die_area(parts, Silicon()).total
            yield row("ga100_area/error_pct", abs(die / float(r["A100_measured_mm2"]) - 1) * 100, "%", 5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dir", type=Path, metavar="DIR")
    json_option(parser)
    args = parser.parse_args()
    tables: dict[str, Table] = {}
    for path in sorted(args.dir.glob("*.csv")):
        with path.open(newline="") as file:
            tables[path.name] = list(csv.DictReader(file))
    rows = [r for check in (scalesim, attacc, neupims, npu_gemms, allreduce, a100_operators, ga100_area) for r in check(tables)]
    if not rows:
        print(f"{args.dir}: no reference table found (expected scalesim_gemm_cycles.csv and others)", file=sys.stderr)
        return 2
    return finish(rows, args.json)


if __name__ == "__main__":
    sys.exit(main())
