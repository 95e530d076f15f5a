"""A design as plain data that means the same on any machine: shipped workloads are named, not located."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from simulator.design.design import Design
from simulator.design.load import CONFIGS, expand
from simulator.design.records.workload import Workload
from simulator.inputs.errors import InputError


def portable_plain(design: Design, *, engine_swept: bool = False) -> dict[str, Any]:
    """`design.to_plain()`, with the workload as a name in `configs/workloads` and what differs from that. engine_swept: what an
    engine fills in by its own rules stays open where the design leaves it so."""
    plain = design.open_plain() if engine_swept else design.to_plain()
    own: dict[str, Any] = plain["workload"]
    shipped = _shipped(design.workload.name)
    if shipped is not None and shipped.keys() <= own.keys():
        changes = {key: value for key, value in own.items() if value != shipped.get(key)}
        plain["workload"] = {"base": design.workload.name, **changes} if changes else design.workload.name
    return plain


@lru_cache(maxsize=64)
def _shipped(name: str) -> dict[str, Any] | None:
    if not (CONFIGS / "workloads" / f"{name}.yaml").is_file():
        return None
    try:
        return Workload.model_validate(expand({"workload": name})["workload"]).to_plain()
    except InputError:
        return None
