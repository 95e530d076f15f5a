"""The points of a discrete search space as rows of integers, which vectorised searches breed and compare by the thousand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Codes = NDArray[np.int64]  # [n, parameters]: index of each value, ABSENT where the parameter does not exist
Float64 = NDArray[np.float64]
Params = dict[str, Any]  # of an Optuna trial
ABSENT = -1


@dataclass(frozen=True)
class Conditions:
    """Which parameters exist depends on others. deciding: those it depends on. existing: parameters -> names that exist."""

    deciding: Collection[str]
    existing: Callable[[Params], Collection[str]]


def count(distribution: BaseDistribution) -> int | None:
    """How many values a distribution has; None for a continuous one."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution | FloatDistribution) and distribution.step is not None:
        return round((distribution.high - distribution.low) / distribution.step) + 1
    return None


class Coder:
    """Rows and features of points. Every distribution must be discrete."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], conditions: Conditions | None = None) -> None:
        self.distributions = dict(distributions)
        self.counts = np.array([count(d) for d in self.distributions.values()])
        self._conditions = conditions if conditions is not None and conditions.deciding else None
        self._read = [i for i, name in enumerate(self.distributions) if conditions is not None and name in conditions.deciding]
        self._present: dict[bytes, NDArray[np.bool_]] = {}
        self.unordered = [isinstance(d, CategoricalDistribution) for d in self.distributions.values()]
        self.owners = np.array([i for i, count in enumerate(self.counts)
                                for _ in range(count if self.unordered[i] else 1)])  # [features]: their parameter

    def encode(self, params: Mapping[str, Any]) -> Codes:
        """One canonical row. params: a value for every parameter."""
        row = np.array([_index(d, params[name]) for name, d in self.distributions.items()])
        if self._conditions is not None:
            row[~self._exists(row)] = ABSENT
        return row

    def decode(self, row: Codes) -> Params:
        """The parameters of a row; where one does not exist, its first value stands for it."""
        return {name: _value(d, max(int(i), 0)) for (name, d), i in zip(self.distributions.items(), row, strict=True)}

    def random(self, rng: np.random.Generator, size: int) -> Codes:
        """Canonical rows, each parameter even over its values."""
        return self.canonical(rng.integers(0, self.counts, (size, len(self.counts))))

    def canonical(self, rows: Codes) -> Codes:
        """`rows` (without ABSENT) with ABSENT where a parameter does not exist."""
        if self._conditions is None:
            return rows
        rows = rows.copy()
        first, which = np.unique(rows[:, self._read], axis=0, return_index=True, return_inverse=True)[1:]
        present = np.array([self._exists(rows[i]) for i in first])
        rows[~present[which.ravel()]] = ABSENT
        return rows

    def features(self, rows: Codes) -> Float64:
        """[n, features]: ordered values as their place in 0..1, others as one-hot; absent ones in the middle."""
        columns: list[Float64] = []
        for i, count in enumerate(self.counts):
            column = rows[:, i]
            if self.unordered[i]:
                columns.extend((column == value) / np.sqrt(2.0) for value in range(count))
            else:
                columns.append(np.where(column == ABSENT, 0.5, column / max(count - 1, 1)))
        return np.stack(columns, axis=1)

    def neighbours(self, row: Codes, fill: Codes, *, steps: int | None = None) -> Codes:
        """Canonical rows that differ from `row` in one parameter: in any value, or by at most `steps` of an ordered one.

        fill: values for parameters that `row` does not have and a neighbour may.
        """
        full = np.where(row == ABSENT, fill, row)
        rows = []
        for i in np.flatnonzero(row != ABSENT):
            for value in range(self.counts[i]):
                near = self.unordered[i] or steps is None or abs(value - row[i]) <= steps
                if near and value != row[i]:
                    changed = full.copy()
                    changed[i] = value
                    rows.append(changed)
        return self.canonical(np.array(rows, dtype=np.int64).reshape(len(rows), len(row)))

    def _exists(self, row: Codes) -> NDArray[np.bool_]:
        """Which parameters exist where those that conditions read have the values in `row`."""
        assert self._conditions is not None
        key = row[self._read].tobytes()
        if key not in self._present:
            existing = self._conditions.existing(self.decode(row))
            self._present[key] = np.array([name in existing for name in self.distributions])
        return self._present[key]


def _index(distribution: BaseDistribution, value: Any) -> int:
    internal = distribution.to_internal_repr(value)
    if isinstance(distribution, IntDistribution | FloatDistribution):
        assert distribution.step is not None
        return round((internal - distribution.low) / distribution.step)
    return int(internal)


def _value(distribution: BaseDistribution, index: int) -> Any:
    if isinstance(distribution, IntDistribution | FloatDistribution):
        assert distribution.step is not None
        return distribution.to_external_repr(distribution.low + index * distribution.step)
    return distribution.to_external_repr(index)
