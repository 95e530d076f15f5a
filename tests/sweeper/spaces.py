"""Builders of spaces and trials for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sweeper.space.file import load_space
from sweeper.space.space import Space
from sweeper.study.trial import Trial

OBJECTIVES = """
objectives:
  - {minimize: tpot_p95, unit: ms}
  - {maximize: output_throughput}
"""


def space_of(folder: Path, parameters: str, *, design: str = "npu-chat", rest: str = OBJECTIVES,
             overrides: dict[str, Any] | None = None) -> Space:
    """A space from the lines below `parameters:`."""
    path = folder / "space.yaml"
    path.write_text(f"design: {design}\nparameters:\n{parameters}\n{rest}")
    return load_space(path, overrides)


def complete(number: int, tpot_ms: float, throughput: float, **more: Any) -> Trial:
    """A feasible trial with the objectives of OBJECTIVES."""
    return Trial(**{"number": number, "parameters": {"parallelism.tensor": number}, "status": "complete",
                    "metrics": {"tpot_p95": tpot_ms / 1e3, "output_throughput": throughput},
                    "objectives": {"tpot_p95": tpot_ms, "output_throughput": throughput},
                    "design_key": f"key{number}", **more})
