"""Compares the engine records with defaults that the engines themselves gave, and with hand-worked cases.

    python scripts/validate_defaults.py [DIR] [--json FILE]

DIR holds `defaults-VERSION.json` of vLLM: rows of token budget and sequence limit by device, and the fields of its configuration
(found through LLMSIM_SHARED where it is not given). The cases need no data. Every difference is printed. Exits 1 when there is
one, 2 for input that cannot be read.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.default_cases import cases
from scripts.report import finish, json_option
from simulator.design.engine_defaults.limits import limits
from simulator.design.engine_defaults.situation import Situation
from simulator.design.load import load_engine
from simulator.design.records.engine import EngineRecord
from simulator.inputs.errors import InputError

CONTEXTS = {"LLM_CLASS": "offline", "OPENAI_API_SERVER": "server"}
# A field of vLLM's configuration and what the record has for it
FIELDS = {
    "fields": {
        "enable_chunked_prefill": lambda r: r.scheduler.chunked_prefill,
        "policy": lambda r: r.scheduler.policy,
        "scheduler_reserve_full_isl": lambda r: r.scheduler.reserve_full_isl,
        "watermark": lambda r: r.scheduler.watermark,
        "stream_interval": lambda r: r.scheduler.stream_interval,
        "prefill_schedule_interval": lambda r: r.scheduler.prefill_schedule_interval,
        "long_prefill_token_threshold": lambda r: r.scheduler.long_prefill_token_threshold,
        "async_scheduling": lambda r: None if r.scheduler.async_scheduling.default else False,  # None: on where it can be
    },
    "cache": {
        "gpu_memory_utilization": lambda r: r.kv.fraction,
        "enable_prefix_caching": lambda r: r.kv.prefix_caching.default,
        "prefix_caching_hash_algo": lambda r: r.kv.prefix_caching.hash,
    },
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", nargs="?", type=Path, metavar="DIR", default=_shared() / "oracle/vllm_defaults")
    json_option(parser)
    args = parser.parse_args(argv)
    try:
        recorded = list(oracle(args.directory))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    found = [("oracle", *each) for each in recorded] + [("cases", *each) for each in cases()]
    wrong = [(kind, name, expected, got) for kind, name, expected, got in found if expected != got]
    for kind, name, expected, got in wrong:
        print(f"{kind}: {name}: expected {expected}, got {got}")
    rows = [{"name": f"defaults/{kind}_compared", "value": sum(k == kind for k, *_ in found), "unit": "values", "goal": "",
             "ok": None} for kind in ("oracle", "cases")]
    rows.append({"name": "defaults/mismatches", "value": len(wrong), "unit": "values", "goal": "<= 0", "ok": not wrong})
    return finish(rows, args.json)


def oracle(folder: Path) -> Iterator[tuple[str, object, object]]:
    """(name, the engine's, ours) for every value in a folder of `defaults-VERSION.json`. Raises InputError."""
    files = sorted(folder.glob("defaults-*.json"))
    if not files:
        raise InputError("holds no defaults-VERSION.json", file=str(folder))
    for file in files:
        try:
            said = json.loads(file.read_text())
            record = load_engine(_record_of(said["vllm"]))
            yield from _compared(said, record)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"cannot be read: {error!r}", file=str(file)) from error


def _compared(said: dict, record: EngineRecord) -> Iterator[tuple[str, object, object]]:
    version = said["vllm"]
    for row in said["rows"]:
        for context, ours in CONTEXTS.items():
            of = Situation(row["device"].lower(), row["memory_gib"], context=ours)
            got = limits(record.model_copy(update={"context": ours}), of)
            yield f"vllm {version}, {row['device']}, {ours}", tuple(row[context]), got
    for part, fields in FIELDS.items():
        for name, of_record in fields.items():
            if said.get(part, {}).get(name, "absent") != "absent":
                yield f"vllm {version}, {name}", _default(said[part][name]), of_record(record)


def _default(text: str) -> object:
    """The default in a pydantic field's repr, or a literal."""
    match = re.search(r"default=([^,)]+)", text)
    literal = match[1] if match else text
    named = {"True": True, "False": False, "None": None}
    if literal in named:
        return named[literal]
    return literal.strip("'") if literal.startswith("'") else float(literal) if "." in literal else int(literal)


def _record_of(version: str) -> str:
    """The record that holds for a version: the latest that is not above it, which is where the rules last changed."""
    have = {tuple(map(int, path.stem.removeprefix("vllm-").split("."))): path.stem
            for path in (Path(__file__).resolve().parents[1] / "configs/engines").glob("vllm-*.yaml")}
    wanted = tuple(int(part) for part in version.split(".")[:2])
    below = [key for key in have if key <= wanted]
    if not below:
        raise InputError(f"no record of vLLM {version}: the first is {have[min(have)]}")
    return have[max(below)]


def _shared() -> Path:
    return Path(os.environ.get("LLMSIM_SHARED", Path(__file__).resolve().parents[2] / "shared"))


if __name__ == "__main__":
    sys.exit(main())
