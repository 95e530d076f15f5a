"""Compares KV pools with those that engines logged: `python scripts/validate_kv_logs.py FILE [--json FILE]`.

FILE: CSV (may be gzipped) with columns model, precision, kv_dtype, gpu, tp, engine, gpu_memory_utilization, max_model_len,
kv_gib_per_gpu, kv_tokens, kv_blocks. What a log does not say is the engine's default by its record. Logs of vLLM 0.9 and later
are judged, others printed; what cannot be expressed is counted by reason. Exits 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.published import SkipError, engine_of, hardware_of, model_of, precision_of, record_of, rows_of
from scripts.report import Row, errors, finish, json_option, row
from simulator.design.design import Design
from simulator.design.load import resolve
from simulator.inputs.errors import InputError
from simulator.pricing.kv_memory import KvMemory, logged_tokens, memory_of

COLUMNS = ("model", "precision", "kv_dtype", "gpu", "tp", "engine", "gpu_memory_utilization", "max_model_len", "kv_gib_per_gpu",
           "kv_tokens", "kv_blocks")
BAR, JUDGED_FROM = 3.0, (0, 9)
GIB = 2.0**30


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE")
    json_option(parser)
    args = parser.parse_args(argv)
    try:
        logs = rows_of(args.file, COLUMNS)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    rows: list[Row] = []
    skipped: Counter[str] = Counter()
    for log in logs:
        try:
            rows.append(_compared(log))
        except SkipError as reason:
            skipped[str(reason)] += 1
            print(f"skipped: {log['model']} on {log['gpu']}, {log['engine']}: {reason}")
    rows += errors("kv_logs", [float(str(r["value"])) for r in rows])
    rows.append(row("kv_logs/expressed_pct", 100 * (1 - skipped.total() / len(logs))))
    rows += [row(f"kv_logs/skipped/{reason}", count, "logs") for reason, count in sorted(skipped.items())]
    return finish(rows, args.json)


def _compared(log: dict[str, str]) -> Row:
    """The error of one log. Raises SkipError."""
    family, version = engine_of(log["engine"])
    design = _design(log, family, version)
    memory = memory_of(design)
    error = _error(log, design, memory)
    name = "-".join(re.sub(r"[^a-z0-9]+", "-", log[key].lower()).strip("-") for key in ("model", "gpu", "engine"))
    print(f"{log['model']} on {log['tp']} x {log['gpu']}, {log['engine']}: {memory.kv_bytes / GIB:.2f} GiB of KV predicted "
          f"(usable {memory.memory_bytes / GIB:.2f}, weights {memory.weight_bytes / GIB:.2f}, activations "
          f"{memory.activation_bytes / GIB:.2f}, other {memory.reserve_bytes / GIB:.2f}), {log['kv_gib_per_gpu'] or '?'} logged")
    judged = family == "vllm" and version is not None and version >= JUDGED_FROM
    return row(f"kv_logs/{name}/error_pct", error, "%", BAR if judged else None, absolute=True)


def _design(log: dict[str, str], family: str, version: tuple[int, ...] | None) -> Design:
    precision = precision_of(log["precision"], family=family)
    precision["kv"] = "fp8" if log["kv_dtype"].startswith("fp8") else "bf16"
    serving: dict[str, float | int] = {}
    if re.fullmatch(r"0?\.\d+", log["gpu_memory_utilization"]):
        serving["memory_utilization"] = float(log["gpu_memory_utilization"])
    if log["max_model_len"].isdigit():
        serving["max_model_len"] = int(log["max_model_len"])
    if not log["tp"].isdigit():
        raise SkipError("parallel degrees not modelled")
    plain = {"model": model_of(log["model"]), "hardware": hardware_of(log["gpu"]), "precision": precision, "workload": "chat-200",
             "parallelism": {"tensor": int(log["tp"])}, "engine": record_of(family, version), "serving": serving}
    try:
        return resolve(plain)
    except InputError as error:
        raise SkipError(f"not expressible: {error.key or 'design'}") from error


def _error(log: dict[str, str], design: Design, memory: KvMemory) -> float:
    """Per cent, of the first of blocks, tokens and bytes that the log has."""
    for column, ours in (("kv_blocks", memory.num_gpu_blocks), ("kv_tokens", logged_tokens(design, memory)),
                         ("kv_gib_per_gpu", memory.kv_bytes / GIB)):
        try:
            return (ours / float(log[column]) - 1) * 100
        except ValueError:
            continue
    raise SkipError("no pool logged")


if __name__ == "__main__":
    sys.exit(main())
