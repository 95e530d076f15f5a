"""The one way from numbers of any kind to int32 columns: what does not fit is refused, never wrapped or cut."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.inputs.errors import InputError

LOWEST, HIGHEST = -(2**31), 2**31 - 1


def int32(values: Any, what: str, *, file: str | None = None) -> NDArray[np.int32]:
    """`values` (integers) as an int32 array of the same shape. Raises InputError where one is outside its range."""
    table = np.asarray(values, np.int64)
    if table.size and not (table.min() >= LOWEST and table.max() <= HIGHEST):
        outside = table[(table < LOWEST) | (table > HIGHEST)]
        raise InputError(f"{what} {outside.flat[0]} is outside of {LOWEST:,} to {HIGHEST:,}", file=file)
    return table.astype(np.int32)


def whole(value: Any, what: str, *, least: int = LOWEST, most: int = HIGHEST) -> int:
    """A whole number of JSON or CSV as an int. Raises ValueError for anything else: 1.9, true, "abc", what is out of range."""
    number: int | None = None
    if isinstance(value, str):
        text = value.strip()
        if text.lstrip("+-").isdecimal() and text.isascii() and len(text) < 20:
            number = int(text)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    if number is None or not least <= number <= most:
        raise ValueError(f"expected {what}, a whole number from {least:,} to {most:,}, got {str(value)[:40]!r}")
    return number
