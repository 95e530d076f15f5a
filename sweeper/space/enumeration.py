"""The points of a space by index: what exhaustive sweeps hand out, so that a task is two numbers and not 64 mappings.

Points that agree in the parameters that conditions read form a block, a full grid over the others. The order is the
blocks' and, inside one, the last parameter varying fastest.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import prod

from simulator.inputs.errors import InputError
from sweeper.space.space import Space, Values


class Enumeration:
    """`len()` canonical points; `at(index)` is one. Raises InputError for a continuum or too many conditions."""

    def __init__(self, space: Space) -> None:
        if space.size() is None:
            raise InputError("the space cannot be enumerated: it has a continuous range (give it a 'step') or too many "
                             "conditions", key="study.sampler")
        self._names = [p.name for p in space.parameters]
        self._values = {p.name: list(p.values()) for p in space.parameters}
        self._blocks = [(fixed, [p.name for p in free]) for fixed, free in space.blocks()]
        counts = [prod(len(self._values[name]) for name in free) for _, free in self._blocks]
        self._ends = list(accumulate(counts))

    def __len__(self) -> int:
        return self._ends[-1]

    def at(self, index: int) -> Values:
        """The point of that index, 0 <= index < len."""
        block = bisect_right(self._ends, index)
        fixed, free = self._blocks[block]
        rest = index - (self._ends[block - 1] if block else 0)
        values = dict(fixed)
        for name in reversed(free):
            choices = self._values[name]
            rest, position = divmod(rest, len(choices))
            values[name] = choices[position]
        return {name: values[name] for name in self._names if name in values}
