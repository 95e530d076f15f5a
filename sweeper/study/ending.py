"""How a sweep ended, for whoever writes or prints it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sweeper.study.digest import Digest


@dataclass(frozen=True)
class Ending:
    """`why`: complete, exhausted (no design left), timeout, interrupted or failing. `summary`: what summary.json says."""

    why: str
    found: Digest
    summary: dict[str, Any]
    reason: str = ""  # of `failing`
