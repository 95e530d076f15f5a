"""The version of the simulator, for records that outlive it."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

# Rooms that no simulated number passes through.
_APART = ("commands", "importers", "profiling", "recorded", "results/exports.py", "results/timeline.py")


@lru_cache(maxsize=1)
def simulator_version() -> str:
    """Digest of the code that results of a simulation depend on: pricing, scheduling, metrics, input.

    Results of two versions are never taken for each other's. Operator prices depend on less:
    `simulator.pricing.cache.code_version`.
    """
    root = Path(__file__).resolve().parent
    digest = blake2b(digest_size=16)
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if relative.parts[0] not in _APART and relative.as_posix() not in _APART:
            digest.update(relative.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
