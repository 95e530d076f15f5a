"""The records of what a space seeks and what must hold there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sweeper.space.expressions.expression import Expression


@dataclass(frozen=True)
class Objective:
    """What is sought. Its value is held in `unit`; `scale` base units are one `unit`."""

    name: str
    direction: Literal["minimize", "maximize"]
    expression: Expression
    unit: str
    scale: float
    basis: str = ""  # of an amount of money: the word for its cost basis

    def value(self, values: Mapping[str, Any]) -> float:
        """In `unit`, always finite. Raises UndefinedError with the reason otherwise."""
        number = float(self.expression.value(values))
        return number if self.scale == 1.0 else number / self.scale

    @property
    def label(self) -> str:
        """Name and unit for people, amounts with their basis: 'ttft_p99 (s)', 'cost_per_hour (USD/h, BOM)'."""
        return f"{self.name} ({self.shown_unit})" if self.shown_unit else self.name

    @property
    def shown_unit(self) -> str:
        """The unit for people: 'ms', 'USD/h, BOM'."""
        return ", ".join(part for part in (self.unit, self.basis) if part)


@dataclass(frozen=True)
class Constraint:
    """What must hold; `expression.violation` says by how much it does not."""

    name: str
    expression: Expression
