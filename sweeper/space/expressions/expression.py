"""The expressions of constraints, objectives and conditions: checked once, then evaluated on plain numbers.

A constraint becomes a signed relative violation (<= 0 holds), which is what Optuna's `set_constraint` takes, so that
a sampler can see how far off a design is and not only that it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.inputs.errors import InputError
from sweeper.space.expressions import evaluation, grammar
from sweeper.space.expressions.checking import Checker, Dimension, base_unit
from sweeper.space.expressions.evaluation import UndefinedError
from sweeper.space.expressions.grammar import Node
from sweeper.space.expressions.symbols import Symbol

__all__ = ["Expression", "UndefinedError", "parse_condition", "parse_number"]


@dataclass(frozen=True)
class Expression:
    """A checked expression. `names`: design keys and metrics it reads; `metrics`: those that need a simulation."""

    text: str
    tree: Node
    kind: str  # number | flag | text
    dimension: Dimension
    names: frozenset[str]
    metrics: frozenset[str]

    @property
    def static(self) -> bool:
        """Whether it is decided by the design alone."""
        return not self.metrics

    @property
    def unit(self) -> str:
        """The base unit of a number ('' if it has none)."""
        return base_unit(self.dimension)

    def value(self, values: Mapping[str, Any]) -> float:
        """The number, in base units. `values`: each name's value in its own unit. Raises UndefinedError, never NaN."""
        return evaluation.number(self.tree, values)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether a condition is true. Raises UndefinedError."""
        return evaluation.violation(self.tree, values) <= 0

    def violation(self, values: Mapping[str, Any]) -> float:
        """How far a condition is from true: <= 0 holds, else relative to the comparison's right side.

        and: the worst part; or: the best; at equality of a strict comparison EPSILON. Raises UndefinedError.
        """
        return evaluation.violation(self.tree, values)


def parse_number(text: Any, symbols: Mapping[str, Symbol], aliases: Mapping[str, str] | None = None) -> Expression:
    """A checked numeric expression (an objective). Raises InputError."""
    expression = _parse(text, symbols, aliases or {})
    if expression.kind != "number":
        raise InputError(f"'{_short(text)}' is a condition; expected a quantity such as 'ttft_p99'"
                         if expression.kind == "flag" else f"'{_short(text)}' is text, expected a quantity")
    return expression


def parse_condition(text: Any, symbols: Mapping[str, Symbol], aliases: Mapping[str, str] | None = None) -> Expression:
    """A checked condition (a constraint or a `when`). Raises InputError."""
    expression = _parse(text, symbols, aliases or {})
    if expression.kind != "flag":
        raise InputError(f"'{_short(text)}' is not a condition; compare it with something, "
                         f"for example 'ttft_p99 <= 2 s'")
    return expression


def _parse(text: Any, symbols: Mapping[str, Symbol], aliases: Mapping[str, str]) -> Expression:
    if isinstance(text, bool):
        text = "true" if text else "false"
    if isinstance(text, int | float):
        text = repr(text)
    if not isinstance(text, str):
        raise InputError(f"expected an expression such as 'ttft_p99 <= 2 s', got {_short(text)}")
    checker = Checker(symbols, aliases)
    try:
        tree, kind, dimension = checker.check(grammar.parse(text, checker.known))
    except InputError as error:
        raise InputError(f"in '{_short(text)}': {error.message}") from None
    return Expression(" ".join(text.split()), tree, kind, dimension, frozenset(checker.names),
                      frozenset(n for n in checker.names if symbols[n].metric))


def _short(text: Any) -> str:
    shown = "".join(c if c.isprintable() and c.isascii() else "?" for c in str(text)[:80])
    return shown if len(str(text)) <= 80 else shown + "..."
