"""Compiling the kernels of the fast engine, once, and finding them in numba's cache afterwards."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from numba import config, njit

from simulator.costs import lookup


@functools.cache
def compiled(kernel: ModuleType) -> Callable[..., Any]:
    """The entry of `kernel`, compiled for its SIGNATURE or loaded from numba's cache.

    numba looks only at the file of the function itself to see whether a cached version is stale. So the digest of
    all sources that are compiled into it is a free variable of the entry, which makes it a part of the cache's key.
    """
    entry = kernel.entry(_digest())
    if config.DISABLE_JIT:
        return entry  # type: ignore[no-any-return]
    return njit(kernel.SIGNATURE, cache=True, error_model="numpy", no_cfunc_wrapper=True, _nrt=False)(entry)  # type: ignore[no-any-return]


@functools.cache
def _digest() -> int:
    sources = [*sorted(Path(__file__).parent.glob("fast_*.py")), Path(lookup.__file__)]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).digest()
    return int.from_bytes(digest[:7], "little") | 1
