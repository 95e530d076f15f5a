"""The points of a discrete space as rows of integers, which vectorised searches breed and compare by the thousand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.space.parameters import Choices
from sweeper.space.space import Space, Values

Codes = NDArray[np.int64]  # [n, parameters]: index of each value, ABSENT where the parameter does not exist
Float64 = NDArray[np.float64]
ABSENT = -1


class Coder:
    """Rows and features of a space's points. Every parameter must be discrete."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self.counts = np.array([p.domain.count for p in space.parameters])
        self._conditions = any(p.when is not None for p in space.parameters)
        self._read = [i for i, p in enumerate(space.parameters) if space.is_read(p)]
        self._present: dict[bytes, NDArray[np.bool_]] = {}
        self.unordered = [isinstance(p.domain, Choices) and not p.domain.ordered for p in space.parameters]
        self.owners = np.array([i for i, count in enumerate(self.counts)
                                for _ in range(count if self.unordered[i] else 1)])  # [features]: their parameter

    def encode(self, point: Mapping[str, Any]) -> Codes:
        """One row."""
        return np.array([p.domain.index(point[p.name]) if p.name in point else ABSENT for p in self._space.parameters])

    def decode(self, row: Codes) -> Values:
        """The point of a canonical row."""
        return {p.name: p.domain.at(int(i)) for p, i in zip(self._space.parameters, row, strict=True) if i != ABSENT}

    def random(self, rng: np.random.Generator, size: int) -> Codes:
        """Canonical rows, each parameter even over its values."""
        return self.canonical(rng.integers(0, self.counts, (size, len(self.counts))))

    def canonical(self, rows: Codes) -> Codes:
        """`rows` (without ABSENT) with ABSENT where a parameter does not exist."""
        if not self._conditions:
            return rows
        rows = rows.copy()
        read, which = np.unique(rows[:, self._read], axis=0, return_inverse=True)
        first = np.unique(which, return_index=True)[1]
        present = np.array([self._exists(key.tobytes(), rows[i]) for key, i in zip(read, first, strict=True)])
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

    def _exists(self, key: bytes, row: Codes) -> NDArray[np.bool_]:
        """Which parameters exist where those that conditions read have these values."""
        if key not in self._present:
            values = {p.name: p.domain.at(int(i)) for p, i in zip(self._space.parameters, row, strict=True)}
            point = self._space.canonical(values)
            self._present[key] = np.array([p.name in point for p in self._space.parameters])
        return self._present[key]
