"""Names in published measurements (models, GPUs, number formats, engines) as what a design says; what has no counterpart is
skipped with its reason."""

from __future__ import annotations

import csv
import gzip
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from simulator.design.load import CONFIGS
from simulator.inputs.errors import InputError


class SkipError(Exception):
    """A row that cannot be simulated; the text is the reason, the same for rows that fail alike."""


# Models whose dimensions are those of another: name without maker and suffixes -> preset or folder of configurations
ALIASES = {
    "llama-3-8b": "llama-3.1-8b", "llama-3-70b": "llama-3.1-70b", "llama-3.3-70b": "llama-3.1-70b",
    "qwq-32b": "deepseek-r1-distill-qwen-32b",  # Qwen2.5-32B
    "codellama-13b": "llama-2-13b",  # 16 more tokens in its vocabulary
}
SUFFIXES = re.compile(r"-(instruct|fp8|nvfp4|kv|hf|it|bf16|v0\.\d|\d{4})$")
# The first text found in a GPU's name decides
GPUS: dict[str, Any] = {
    "gb200": "gb200-nvl72", "gb300": "gb300-nvl72", "mi325x": "mi325x", "mi355x": "mi355x", "rtx 5090": "rtx5090", "a10g": "a10g",
    "l4": "l4", "h100": "h100-sxm", "h200": "h200-sxm", "b200": "b200", "b300": "b300", "mi300x": "mi300x", "l40s": "l40s",
    "rtx 4090": "rtx4090", "rtx4090": "rtx4090", "rtx pro 6000": "rtx-pro-6000", "a6000": "rtx-a6000",
    "nvidia a100 gpu": {"base": "a100-80gb", "name": "a100-40gb", "memory": {"bandwidth": "1555 GB/s", "capacity": "39.39 GiB"}},
    "a100": "a100-80gb",
    "rtx 3090": None, "h800": None, "h20": None,  # no preset, though other names are in theirs
}
UNSURE = ("not stated", "inferred", "not named", "page says", "page order", "page:")


def rows_of(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV (may be gzipped). Raises InputError naming what is missing."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", file=str(path)) from error
    if not rows:
        raise InputError("holds no points", file=str(path))
    for name in columns:
        if name not in rows[0]:
            raise InputError(f"has no column '{name}'", file=str(path))
    return rows


def model_of(name: str) -> str:
    """The preset or configuration file of a published model's name. Raises SkipError."""
    plain = _plain(name)
    plain = ALIASES.get(plain, plain)
    known = _known_models()
    if plain not in known:
        raise SkipError("model without a configuration at hand")
    return known[plain]


def hardware_of(name: str) -> Any:
    """The hardware section for a published GPU's name. Raises SkipError."""
    lower = name.lower()
    if any(text in lower for text in UNSURE):
        raise SkipError("GPU not stated")
    found = next((preset for text, preset in GPUS.items() if text in lower and not re.search(rf"{text}\d", lower)), None)
    if found is None:
        raise SkipError("GPU without a preset")
    return found


def precision_of(text: str, *, family: str) -> dict[str, str]:
    """The precision section for a published format. Raises SkipError for formats that are not modelled.

    family: of the engine: TensorRT-LLM's FP8 checkpoints ask for an FP8 cache too.
    """
    lower = text.lower()
    if any(kind in lower for kind in ("fp4", "int4 moe", "skip")):
        raise SkipError("number format not modelled")
    if lower.startswith(("awq", "int4")):
        return {"weights": "int4"}
    eight = lower.startswith("fp8")
    cache = "fp8" if "fp8 kv" in lower or (eight and family == "trtllm") else "bf16"
    if "int8" in lower:
        return {"weights": "int8", "kv": cache}
    return {"weights": "fp8", "activations": "fp8", "kv": cache} if eight else {"kv": cache}


def engine_of(text: str) -> tuple[str, tuple[int, ...] | None]:
    """(family, version where it is said) in a framework's name and what stands next to it."""
    lower = text.lower()
    for family, name in (("sglang", "sglang"), ("trtllm", "tensorrt-llm"), ("vllm", "vllm")):
        if name in lower:
            found = re.search(rf"{name}\D{{0,8}}?(\d+(?:\.\d+)+)", lower)
            return family, tuple(int(part) for part in found[1].split(".")) if found else None
    raise SkipError("another engine")


def record_of(family: str, version: tuple[int, ...] | None) -> str:
    """The record that holds for a version: the latest that is not above it, else the family's first. Without a version, the
    family's last."""
    have = {tuple(int(part) for part in path.stem.partition("-")[2].split(".")): path.stem
            for path in (CONFIGS / "engines").glob(f"{family}-*.yaml")}
    below = [key for key in have if version is None or key <= version]
    return have[max(below)] if below else have[min(have)]


def _plain(name: str) -> str:
    plain = name.lower().rpartition("/")[2].removeprefix("meta-")
    while (shorter := SUFFIXES.sub("", plain)) != plain:
        plain = shorter
    return plain


@cache
def _known_models() -> dict[str, str]:
    """Plain name -> preset, or configuration file in the shared data."""
    shared = Path(os.environ.get("LLMSIM_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    found = {_plain(path.parent.name.replace("--", "/")): str(path)
             for path in sorted((shared / "data/model_configs").glob("*/config.json"))}
    return found | {_plain(path.stem): path.stem for path in sorted((CONFIGS / "models").glob("*.yaml"))}
