"""Compiling the kernels of the fast engine, once, and finding them in numba's cache afterwards."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from numba import config, njit

from simulator.costs import lookup
from simulator.serving import gaps


@functools.cache
def compiled(kernel: ModuleType) -> Callable[..., Any]:
    """`kernel.simulate`, compiled for `kernel.SIGNATURE` or loaded from numba's cache.

    numba looks only at the file of the function itself to see whether a cached version is stale. So the function gets
    a name that holds the digest of all sources that are compiled into it, and the kernel's own, since two kernels may
    share their code and differ in constants.
    """
    simulate = kernel.simulate
    if config.DISABLE_JIT:
        return simulate
    name = f"{kernel.__name__.rpartition('.')[2]}_{_digest()}"
    named = FunctionType(simulate.__code__, simulate.__globals__, name)
    named.__qualname__ = name  # what numba calls the file in its cache by
    compile_now = njit(kernel.SIGNATURE, cache=True, error_model="numpy", no_cfunc_wrapper=True, _nrt=False)
    return compile_now(named)


@functools.cache
def _digest() -> str:
    sources = [*sorted(Path(__file__).parent.glob("fast_*.py")), Path(lookup.__file__), Path(gaps.__file__)]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
