"""The columns of trials as the page reads them: typed arrays in base64, read in a browser without parsing a number."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sweeper.space.parameters import Choices, Parameter, label
from sweeper.study.results import parameter_column

ABSENT = {"u1": 255, "u2": 65535}  # code of a parameter that does not exist in a design
MAX_LISTED = 1000  # values of a range that are listed; a longer one is sent as numbers
MAX_REASON = 160  # characters


def packed(values: NDArray[Any], kind: str) -> dict[str, str]:
    """An array as {"type", "data"}; kinds: f4, f8, i4, u1, u2 (little-endian)."""
    return {"type": kind, "data": base64.b64encode(np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()).decode()}


def numbers(table: pa.Table, column: str) -> NDArray[np.float64]:
    """A column of numbers; NaN where a trial has none."""
    return np.asarray(table.column(column).cast(pa.float64()).to_numpy(), dtype=np.float64)


def texts(values: Sequence[str]) -> dict[str, Any]:
    """Texts as {"list", "codes"}: most of them are alike."""
    listed: dict[str, int] = {}
    codes = [listed.setdefault(text[:MAX_REASON], len(listed)) for text in values]
    return {"list": list(listed), "codes": packed(np.array(codes, dtype=np.int64), "i4")}


def setting(table: pa.Table, parameter: Parameter) -> dict[str, Any]:
    """What each trial sets the parameter to: codes into `listed_values`, or numbers of a range that is not listed."""
    column = table.column(parameter_column(parameter))
    listed = listed_values(parameter)
    if listed is None:
        return {"numbers": packed(column.cast(pa.float64()).to_numpy(), "f8")}
    kind = "u1" if len(listed) < ABSENT["u1"] else "u2"
    if pa.types.is_string(column.type):
        names = {label(value): code for code, value in enumerate(listed)}
        codes = [ABSENT[kind] if v is None else names[v] for v in column.to_pylist()]
    else:
        at = {value: code for code, value in enumerate(listed)}
        codes = [ABSENT[kind] if v is None else at[v] for v in column.to_pylist()]
    return {"codes": packed(np.array(codes), kind)}


def listed_values(parameter: Parameter) -> list[Any] | None:
    """All values of a parameter in order; None for a continuum and a long range."""
    count = parameter.domain.count
    if count is None or (count > MAX_LISTED and not isinstance(parameter.domain, Choices)):
        return None
    return [parameter.domain.at(i) for i in range(count)]
