"""`python -m sweeper spaces`, `models`, `hardware` and `workloads` list what ships, one line each."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from simulator.analysis.evidence import evidence
from simulator.design.load import CONFIGS, load_hardware, load_model
from simulator.design.records.model import Architecture
from simulator.inputs.errors import InputError
from simulator.inputs.yaml_file import load_yaml
from simulator.model.layer_types import counted
from simulator.model.memory import parameters
from sweeper.space.file import SPACES

_FOLDERS = {"spaces": SPACES, **{name: CONFIGS / name for name in ("models", "hardware", "workloads")}}
_USE = {
    "spaces": "python -m sweeper run NAME, or start from a copy of search_spaces/NAME.yaml",
    "models": "model: NAME in a design, or the path of any Hugging Face config.json",
    "hardware": "hardware: NAME in a design; rates, area and price: python -m simulator hardware NAME",
    "workloads": "workload: NAME in a design, or {trace: FILE}",
}


def listing(args: Namespace) -> int:
    """Prints name and description of every YAML of a kind. Raises InputError where one cannot be read."""
    devices = args.command == "hardware"
    table = Table("name", *(["time rests on", "power rests on"] if devices else []), "what it is", box=None, pad_edge=False)
    for path in sorted(_FOLDERS[args.command].glob("*.yaml")):
        rests = evidence(load_hardware(path.stem, {})) if devices else None
        table.add_row(path.stem, *([rests.time, rests.power] if rests is not None else []), _line(args.command, path))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table)
    console.print(f"\nuse: {_USE[args.command]}", markup=False, soft_wrap=True)
    return 0


def _line(kind: str, path: Path) -> str:
    plain = load_yaml(path)
    if not isinstance(plain, dict):
        raise InputError("expected a mapping", file=str(path))
    if kind == "models":
        model = load_model(path)
        return f"{_shape(model)}; {model.source}"
    return _text(plain) or _comment(path)


def _shape(model: Architecture) -> str:
    """A model's size, and its heads and experts, or the kinds of its layers."""
    size = f"{parameters(model) / 1e9:,.1f} B, {model.layers} layers of {model.hidden}"
    if model.layer_types is not None:
        return f"{size}: {', '.join(f'{count} {kind.name}' for kind, count in counted(model).items())}"
    experts = f", {model.experts} experts" if model.experts else ""
    return f"{size}, {model.heads} heads, {model.kv_heads} of KV{experts}"


def _text(plain: dict[str, Any]) -> str:
    return " ".join(str(plain.get("description") or plain.get("source") or "").split())


def _comment(path: Path) -> str:
    """The file's first line, which says what it is."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return first.lstrip("# ") if first.startswith("#") else ""
