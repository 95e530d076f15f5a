"""The `space.yaml` in a study's folder: the space written out in full, whatever happens to its sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from simulator.design.design import Design
from simulator.design.load import validate
from simulator.inputs.yaml_file import load_yaml
from sweeper.space.portable import portable_plain
from sweeper.space.space import QUESTION, Space


def resolved_yaml(space: Space) -> str:
    """YAML that `load_space` reads to a space with the same hash: names, paths and `--set` overrides written out."""
    plain: dict[str, Any] = {"name": space.name, **load_yaml(Path(space.file))}
    plain["name"] = space.name
    base = validate(space.base)
    plain["design"] = portable_plain(base, engine_swept=space.engine_swept)
    if space.baselines:
        plain["baselines"] = {b.name: _baseline(b.design) for b in space.baselines}
    return f"# Resolved from {Path(space.file).name}; `python -m sweeper resume` reads it.\n" + yaml.safe_dump(
        plain, sort_keys=False, width=110, allow_unicode=True)


def _baseline(design: Design) -> dict[str, Any]:
    """A baseline's own design; what it is asked is said outside, else the space's would take its place."""
    plain = portable_plain(design)
    return {"design": plain, **{key: plain[key] for key in QUESTION if key in plain}}
