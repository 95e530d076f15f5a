"""Compares KV capacity with vLLM's own arithmetic: `validate_kv_capacity.py DIR [--json FILE]`.

DIR holds `table.json.gz`: `models` (dimensions, one letter per layer: F full, S window, C chunk, M state, L latent, - none) and
`rows` (a server's settings and the groups, blocks, tokens and concurrency that vLLM found, or its refusal). Every recorded value
is compared; a key that is not known fails. Exit code 1 where a row differs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import finish, json_option, row
from simulator.design.records.layers import LatentAttention, LayerType, NoMlp, SoftmaxAttention, StateAttention
from simulator.design.records.model import Precision
from simulator.model.caches import Cache, layer_caches
from simulator.pricing.kv_groups import layout

LETTERS = {"full": "F", "window": "S", "chunk": "C", "state": "M", "latent": "L"}
SETTINGS = {"model", "tp", "kv_dtype", "memory_bytes", "max_model_len", "max_num_batched_tokens", "async_scheduling",
            "enable_prefix_caching", "spec_tokens"}
RESULTS = {"block_size", "state_bytes", "page_bytes", "bytes_per_block", "num_blocks", "groups", "scheduler_block_size",
           "hash_block_size", "kv_tokens", "max_concurrency"}
REFUSAL = "does not fit one request of max_model_len"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, metavar="DIR")
    json_option(parser)
    args = parser.parse_args(argv)
    file = args.directory / "table.json.gz"
    if not file.is_file():
        print(f"no such file: {file}", file=sys.stderr)
        return 2
    table = json.loads(gzip.decompress(file.read_bytes()))
    mismatches = 0
    for number, wanted in enumerate(table["rows"]):
        difference = _difference(table["models"][wanted["model"]], wanted)
        if difference is not None:
            mismatches += 1
            print(f"row {number} ({wanted['model']}, tp {wanted['tp']}): {difference}")
    refused = sum("error" in wanted for wanted in table["rows"])
    print(f"{len(table['rows']) - mismatches} of {len(table['rows'])} rows equal, {refused} of them refusals")
    return finish([row("kv_capacity/rows", len(table["rows"]), "rows"), row("kv_capacity/mismatches", mismatches, "rows", 0)],
                  args.json)


def _difference(model: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    """The first thing in which a row differs, None where it is equal."""
    if unknown := wanted.keys() - SETTINGS - RESULTS - {"error"}:
        return f"unknown key '{min(unknown)}'"
    found = layout(
        caches_of(model, wanted["kv_dtype"], wanted["tp"], wanted["spec_tokens"]), max_model_len=wanted["max_model_len"],
        tokens_in_flight=wanted["max_num_batched_tokens"] * (2 if wanted["async_scheduling"] else 1),
        prefix_caching=wanted["enable_prefix_caching"], draft_tokens=wanted["spec_tokens"],
        block_size=model.get("block"))
    memory = wanted["memory_bytes"]
    if not found.fits_one(memory) or "error" in wanted:
        ours = None if found.fits_one(memory) else REFUSAL
        return None if ours == wanted.get("error") else f"{ours or 'fits'}, recorded: {wanted.get('error', 'fits')}"
    concurrency = found.max_concurrency(memory)
    ours = {"block_size": found.block_size, "state_bytes": found.state_bytes, "page_bytes": found.page_bytes,
            "bytes_per_block": found.bytes_per_block, "num_blocks": found.num_blocks(memory),
            "scheduler_block_size": found.scheduler_block_size, "hash_block_size": found.hash_block_size,
            "kv_tokens": int(concurrency * wanted["max_model_len"]), "max_concurrency": round(concurrency, 6),
            "groups": [{"kind": LETTERS[g.kind], "layers": g.layers, "block_size": g.block_size, "page_bytes": g.page_bytes,
                        "blocks_per_request": g.blocks_per_request} for g in found.groups]}
    return next((f"{key} {ours[key]}, recorded {wanted.get(key)}" for key in sorted(RESULTS) if ours[key] != wanted.get(key)), None)


def caches_of(model: dict[str, Any], kv: str, tensor: int, draft_tokens: int) -> list[Cache]:
    """The caches of a model of the table, one per layer that has one."""
    kinds = {letter: LayerType(name=letter, attention=attention, mlp=NoMlp()) for letter, attention in _attentions(model).items()}
    precision = Precision(kv=kv)
    return [cache for letter in model["layers"] if letter != "-"
            for cache in layer_caches(kinds[letter], precision, tensor, draft_tokens)]


def _attentions(model: dict[str, Any]) -> dict[str, SoftmaxAttention | LatentAttention | StateAttention]:
    head, kv = model["head"], model["kv_heads"]
    found: dict[str, SoftmaxAttention | LatentAttention | StateAttention] = {
        "F": SoftmaxAttention(kind="full", heads=kv, kv_heads=kv, head_dim=head),
        "L": LatentAttention(heads=1, kv_rank=head - 1, rope_dim=1, nope_dim=1, value_dim=1)}  # their sum alone counts
    for letter, kind, key in (("S", "window", "window"), ("C", "chunk", "chunk")):
        if key in model:
            found[letter] = SoftmaxAttention(kind=kind, heads=kv, kv_heads=kv, head_dim=head, span=model[key])  # type: ignore[arg-type]
    if "state" in model:
        found["M"] = _state(model["state"])
    return found


def _state(s: dict[str, Any]) -> StateAttention:
    if s["conv_dtype"] != "bf16":
        raise ValueError(f"a convolution kept in {s['conv_dtype']} is not modelled")
    common = {"kernel": s["conv"], "state_dtype": s["state_dtype"]}
    match s["kind"]:
        case "mamba2":
            return StateAttention(kind="mamba2", heads=s["heads"], head_dim=s["head_dim"], state=s["state"], groups=s["groups"],
                                  **common)
        case "gdn":
            return StateAttention(kind="gated_delta_net", heads=s["v_heads"], head_dim=s["v_dim"], state=s["k_dim"],
                                  groups=s["k_heads"], **common)
        case "kda":
            return StateAttention(kind="kda", heads=s["heads"], head_dim=s["head_dim"], state=s["head_dim"], **common)
    raise ValueError(f"state layers of kind '{s['kind']}' are not known")


if __name__ == "__main__":
    sys.exit(main())
