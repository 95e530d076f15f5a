"""Compiling the kernels of the fast engine, once, and finding them in numba's cache afterwards."""

from __future__ import annotations

import functools
import gc
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from numba import config, njit, types
from numba.core.types import functions
from numba.np import arrayobj

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
    with _no_negative_indices(), _known_operators(), _no_collections():
        return compile_now(named)


@contextmanager
def _no_negative_indices() -> Iterator[None]:
    """numba lets a negative index count from an array's end, by a test and a select at every access: a quarter of the
    engines' time. They use no negative index (the tests run them under numba's bounds check, which would find one), and
    numba has no option for it: so the function that adds the test is exchanged while they are compiled. A numba without
    it compiles as ever, to the same results."""
    private = "fix_integer_index"
    original = getattr(arrayobj, private, None)
    if original is None:
        yield
        return

    def as_it_is(context: Any, builder: Any, index_type: Any, index: Any, size: Any) -> Any:
        return context.cast(builder, index, index_type, types.intp if index_type.signed else types.uintp)

    setattr(arrayobj, private, as_it_is)
    try:
        yield
    finally:
        setattr(arrayobj, private, original)


@contextmanager
def _known_operators() -> Iterator[None]:
    """For every operator and built-in function in the source numba tries its many implementations anew, until one takes the
    types at hand: a quarter of the time that compiling takes. The answer to the same question is remembered here for the
    compilation of one kernel, all of whose parts have the same options. A numba without this method compiles as ever."""
    method = "get_call_type"
    original = getattr(functions.BaseFunction, method, None)
    if original is None:
        yield
        return
    known: dict[Any, Any] = {}

    def remembered(function: Any, context: Any, args: Any, kws: Any) -> Any:
        question = function, context, args, tuple(kws.items())
        if question not in known:
            known[question] = original(function, context, args, kws)
        return known[question]

    setattr(functions.BaseFunction, method, remembered)
    try:
        yield
    finally:
        setattr(functions.BaseFunction, method, original)


@contextmanager
def _no_collections() -> Iterator[None]:
    """No search for garbage meanwhile: the compiler's many objects are in use until it is done. A tenth of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@functools.cache
def _digest() -> str:
    sources = [*sorted(Path(__file__).parent.glob("fast_*.py")), Path(lookup.__file__), Path(gaps.__file__)]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
