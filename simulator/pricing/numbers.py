"""Helpers of functions that run both compiled by numba and as plain Python.

`index` marks a number that is never negative: numba then leaves out the test for indices that count from an array's end.
`inlined` makes a function callable from compiled code, written into its caller; Python calls it as it stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import overload, register_jitable

inlined = register_jitable(forceinline=True)


def index(number: Any) -> Any:
    """`number`, an integer >= 0: unsigned where compiled."""
    return number


@overload(index, jit_options={"forceinline": True})
def _index(number):  # type: ignore[no-untyped-def] # numba compares its signature with the function's below
    return lambda number: np.uint64(number)
