"""Helpers of functions that run both compiled by numba and as plain Python."""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload, register_jitable

# For a function with one caller: its statements become the caller's before anything is compiled, which takes less time than to
# compile both (a function that is written into its caller by LLVM is optimised alone first).
once = njit(inline="always")


def index(number: Any) -> Any:
    """`number`, an integer >= 0: unsigned where compiled, so that numba leaves out its test for indices that count from the end."""
    return number


@overload(index, jit_options={"forceinline": True})
def _index(number):  # type: ignore[no-untyped-def] # numba wants the signature of the lambda below
    return lambda number: np.uint64(number)


def callable_from_compiled(module: str, apart: tuple[str, ...] = ()) -> None:
    """Makes every function of the module callable from compiled code, written into its caller; Python calls them as they stand.
    apart: long ones with several callers, which are compiled once and called.

    To be called at the end of a module, with its `__name__`.
    """
    for function in list(vars(sys.modules[module]).values()):
        if isinstance(function, FunctionType) and function.__module__ == module:
            register_jitable(forceinline=function.__name__ not in apart)(function)
