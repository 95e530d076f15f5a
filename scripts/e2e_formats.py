"""Files of serving points: the names of their columns, and what they say of the harness."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from scripts.published import rows_of
from simulator.inputs.errors import InputError

# Other names of the columns; a file may have either
NAMES = {"model": "model_path", "version": "backend_version", "batch": "batch_size", "tp": "tp_size", "pp": "pp_size",
         "attn_dp": "attention_dp_size", "moe_tp": "moe_tp_size", "moe_ep": "moe_ep_size", "gemm_q": "gemm_quant_mode",
         "ttft_ms": "silicon_ttft_ms", "tpot_ms": "silicon_tpot_ms"}
HARNESS = ("length_range", "requests_per_client", "max_num_seqs", "async_scheduling", "kv_dtype", "max_num_batched_tokens")
# First month of each minor release of vLLM (GitHub releases), for points that give a date and no version
VLLM_RELEASES = (("2025-03", (0, 8)), ("2025-05", (0, 9)), ("2025-07", (0, 10)), ("2025-10", (0, 11)), ("2025-12", (0, 12)),
                 ("2026-01", (0, 14)))


@dataclass(frozen=True)
class Harness:
    """How points were measured. lowest: lengths are uniform in that share of the stated ones; version: of the engine, None
    where neither it nor the date is known."""

    lowest: float
    requests_per_client: int
    slots: int
    budget: int
    asynchronous: bool
    kv: str
    weights: str
    version: tuple[int, ...] | None


def mapped(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a file under our column names. Raises InputError naming what is missing."""
    rows = [{**row, **{ours: row[theirs] for ours, theirs in NAMES.items() if ours not in row and theirs in row}}
            for row in rows_of(path, ())]
    for name in needed:
        if name not in rows[0]:
            raise InputError(f"has no column '{name}'", file=str(path))
    return rows


def row_prefix(path: Path, points: list[dict[str, str]]) -> str:
    """What row names of a file begin with: its name where it says how it was measured, else nothing."""
    return f"{path.name.partition('.')[0]}/" if set(HARNESS) <= points[0].keys() else ""


def harness_of(point: dict[str, str]) -> Harness | None:
    """The harness columns of a point; None where the file has none. Raises InputError for what they cannot mean."""
    if not set(HARNESS) <= point.keys():
        return None
    batch = int(point["batch"])
    range_ = re.fullmatch(r"uniform in ([\d.]+) L \.\. L|fixed", point["length_range"].strip())
    if range_ is None:
        raise InputError(f"column 'length_range' holds {point['length_range']!r}: neither 'fixed' nor 'uniform in 0.8 L .. L'")
    try:
        return Harness(
            lowest=float(range_[1] or 1.0), requests_per_client=int(point["requests_per_client"]),
            slots=batch if "concurrency" in point["max_num_seqs"] else int(point["max_num_seqs"]),
            budget=int(point["max_num_batched_tokens"]), asynchronous=point["async_scheduling"].strip().lower() == "true",
            kv="fp8" if point["kv_dtype"].startswith("fp8") else "bf16",
            weights="fp8" if point.get("gemm_q", "").startswith("fp8") else "bf16", version=_version(point))
    except ValueError as error:
        raise InputError(f"a harness column is not a number: {error}") from error


def _version(point: dict[str, str]) -> tuple[int, ...] | None:
    said = re.findall(r"\d+", point.get("version", ""))
    if said:
        return tuple(int(part) for part in said[:3])
    if point["backend"] != "vllm":
        return None
    known = [version for month, version in VLLM_RELEASES if month <= point.get("measured", "")[:7]]
    return known[-1] if known else None
