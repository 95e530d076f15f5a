"""Compiling the kernels of the fast engine, once, and finding them in numba's cache afterwards."""

from __future__ import annotations

import functools
import gc
import hashlib
import inspect
import itertools
import marshal
import operator
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from numba import config, njit, types
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager
from numba.core.typed_passes import NopythonTypeInference
from numba.core.types import functions
from numba.core.untyped_passes import FixupArgs, IRProcessing, TranslateByteCode
from numba.np import arrayobj

from simulator.engine import gap_histogram
from simulator.engine.fast_flatten import Flat, flatten
from simulator.pricing import lookup


class _Pipeline(CompilerBase):
    """The steps of numba's compiler that a flattened kernel needs: without closures to inline, branches to prune or array
    expressions to fuse, and without variables split by their assignments, since all keep one type (LLVM splits them
    anyway). They are half of the time of the ordinary ones."""

    def define_pipelines(self) -> list[Any]:
        steps = PassManager("flat")
        steps.add_pass(TranslateByteCode, "bytecode to numba's own form")
        steps.add_pass(FixupArgs, "arguments")
        steps.add_pass(IRProcessing, "life of variables")
        steps.add_pass(NopythonTypeInference, "types")
        steps.passes.extend(DefaultPassBuilder.define_nopython_lowering_pipeline(self.state).passes)
        steps.finalize()
        return [steps]


OPTIONS = {"error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": False, "pipeline_class": _Pipeline}


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
    flat = _flattened(simulate, f"{kernel.__name__.rpartition('.')[2]}_{_digest()}")
    records = dict(zip(inspect.signature(simulate).parameters, kernel.SIGNATURE.args, strict=True))
    arguments = [(record, field) for record, kind in records.items() for field in kind.fields]
    kinds = [records[record][records[record].fields.index(field)] for record, field in flat.fields]
    picked = operator.itemgetter(*(arguments.index(field) for field in flat.fields))
    compile_now = njit(kernel.SIGNATURE.return_type(*kinds), cache=True, **OPTIONS)
    with _no_negative_indices(), quickly():
        loop = compile_now(_with_callees(flat))
    return lambda *records: loop(*picked(tuple(itertools.chain.from_iterable(records))))


def _flattened(simulate: Any, name: str) -> Flat:
    """The flattened kernel, from a file beside numba's own, where it is left: flattening takes a third of the time that all
    else takes at a start with a warm cache."""
    file = Path(njit(cache=True)(simulate).stats.cache_path) / f"{name}.{sys.implementation.cache_tag}.flat"
    try:
        return Flat(*marshal.loads(file.read_bytes()))
    except (OSError, EOFError, ValueError, TypeError):
        flat = flatten(simulate, name)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
            part.write(marshal.dumps(tuple(flat)))
        Path(part.name).replace(file)
    return flat


def _with_callees(flat: Flat) -> FunctionType:
    scope: dict[str, Any] = {"np": np, "__name__": __name__}
    for name, code in flat.apart:
        scope[name] = njit(no_cpython_wrapper=True, forceinline=True, **OPTIONS)(FunctionType(code, scope))
    return FunctionType(flat.code, scope)


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
def quickly() -> Iterator[None]:
    """For compiling one function, or loading it: a third of numba's time is saved by what its compiler need not do."""
    with _known_operators(), _no_collections():
        yield


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
    sources = [*sorted(Path(__file__).parent.glob("fast_*.py")), Path(lookup.__file__), Path(gap_histogram.__file__)]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
