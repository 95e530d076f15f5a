"""A parameter of a search space: which design keys it sets, which values it can take, and how Optuna sees them."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.design import units
from simulator.inputs.errors import InputError
from sweeper.space.expressions.expression import Expression
from sweeper.space.schema import FloatRange, IntRange, ParameterSpec

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MAX_CHOICES = 1000


@dataclass(frozen=True)
class Choices:
    """Listed values. Ordered ones are encoded as their index, so that samplers see neighbours as alike."""

    values: tuple[Any, ...]
    ordered: bool

    @property
    def count(self) -> int:
        return len(self.values)

    def at(self, index: int) -> Any:
        return self.values[index]

    def index(self, value: Any) -> int:
        for i, own in enumerate(self.values):
            if type(own) is type(value) and own == value:
                return i
        raise InputError(f"{label(value)} is not one of {', '.join(map(label, self.values[:8]))}")

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution, IntDistribution

        if self.ordered:
            return IntDistribution(0, len(self.values) - 1)
        return CategoricalDistribution([label(value) for value in self.values])

    def encode(self, value: Any) -> Any:
        return self.index(value) if self.ordered else label(self.values[self.index(value)])

    def decode(self, encoded: Any) -> Any:
        if self.ordered:
            return self.values[int(encoded)]
        return next(value for value in self.values if label(value) == encoded)

    def sample(self, rng: random.Random) -> Any:
        return rng.choice(self.values)


@dataclass(frozen=True)
class Grid:
    """Evenly stepped numbers low, low + step, ..., high (or a continuum of floats where step is None)."""

    low: float
    high: float
    step: float | None
    log: bool
    unit: str = ""  # of floats that are quantities: the value set is '<number> <unit>'

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int)

    @property
    def count(self) -> int | None:
        """How many values; None for a continuum."""
        return None if self.step is None else round((self.high - self.low) / self.step) + 1

    def at(self, index: int) -> float:
        assert self.step is not None
        value = self.low + index * self.step
        return value if self.whole else float(f"{value:.12g}")

    def index(self, value: Any) -> int:
        self._check(value)
        assert self.step is not None
        return round((value - self.low) / self.step)

    def _check(self, value: Any) -> None:
        fits = isinstance(value, int if self.whole else int | float) and not isinstance(value, bool)
        if not fits or not self.low <= value <= self.high or (
                self.step is not None and not math.isclose(self.at(round((value - self.low) / self.step)), value)):
            raise InputError(f"{label(value)} is not in {self.low} .. {self.high}"
                             + (f" by {self.step}" if self.step is not None else ""))

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            step = 1 if self.log else int(self.step or 1)
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=step)
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def encode(self, value: Any) -> Any:
        self._check(value)
        return value

    def decode(self, encoded: Any) -> Any:
        if self.step is None:
            return float(encoded)
        return self.at(round((encoded - self.low) / self.step))

    def sample(self, rng: random.Random) -> Any:
        if self.log:
            drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            return min(max(round(drawn), int(self.low)), int(self.high)) if self.whole else drawn
        return self.at(rng.randrange(self.count)) if self.count else rng.uniform(self.low, self.high)


@dataclass(frozen=True)
class Parameter:
    """A knob. `name` is its design key, or a short name where it sets other keys; `when`: it exists only then."""

    name: str
    keys: tuple[str, ...]
    domain: Choices | Grid
    when: Expression | None = None

    def written(self, value: Any) -> Any:
        """The value as a design's YAML says it: quantities get their unit back."""
        return f"{value!r} {self.domain.unit}" if isinstance(self.domain, Grid) and self.domain.unit else value

    def values(self) -> Iterator[Any]:
        """All values in order. Raises InputError for a continuum."""
        if self.domain.count is None:
            raise InputError("is a continuous range, which cannot be enumerated; give it a 'step'", key=self.name)
        return (self.domain.at(i) for i in range(self.domain.count))


def label(value: Any) -> str:
    """A value as short text: 128, bf16, [128,256]."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def domain(spec: ParameterSpec) -> Choices | Grid:
    """The domain a specification means. Raises InputError (key relative to the parameter)."""
    given = [key for key, part in (("choices", spec.choices), ("ordinal", spec.ordinal), ("int", spec.int_range),
                                   ("float", spec.float_range)) if part is not None]
    if len(given) != 1:
        raise InputError(f"give exactly one of choices, ordinal, int, float; got {' and '.join(given) or 'none'}")
    if spec.int_range is not None:
        return _int_grid(spec.int_range)
    if spec.float_range is not None:
        return _float_grid(spec.float_range)
    values = spec.choices if spec.choices is not None else spec.ordinal or []
    if not values:
        raise InputError("lists no value; give at least one", key=given[0])
    if len(values) > MAX_CHOICES:
        raise InputError(f"lists {len(values)} values, more than {MAX_CHOICES}; use a range", key=given[0])
    seen: set[str] = set()
    for i, value in enumerate(values):
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            raise InputError("is not a value" if value is None else f"{value} is not a finite number",
                             key=f"{given[0]}[{i}]")
        if label(value) in seen:
            raise InputError(f"{label(value)[:60]} is listed twice", key=given[0])
        seen.add(label(value))
    return Choices(tuple(values), spec.ordinal is not None)


def _int_grid(spec: IntRange) -> Grid:
    for bound, number in (("low", spec.low), ("high", spec.high)):
        if abs(number) > 2**53:
            raise InputError("the number is too large", key=f"int.{bound}")
    _check_range(spec.low, spec.high, spec.step, spec.log, "int")
    if spec.step is not None and (spec.high - spec.low) % spec.step:
        raise InputError(f"{spec.step} does not divide high - low = {spec.high - spec.low}; "
                         f"high could be {spec.high - (spec.high - spec.low) % spec.step}", key="int.step")
    return Grid(spec.low, spec.high, spec.step or 1, spec.log)


def _float_grid(spec: FloatRange) -> Grid:
    unit = units.unit_of(spec.low)
    bounds: dict[str, float] = {}
    for name in ("low", "high", "step"):
        raw = getattr(spec, name)
        if raw is None:
            continue
        try:
            bounds[name] = units.parse(raw, unit)
        except InputError as error:
            raise InputError(error.message, key=f"float.{name}") from None
    return _checked_floats(bounds["low"], bounds["high"], bounds.get("step"), spec.log, unit)


def _checked_floats(low: float, high: float, step: float | None, log: bool, unit: str) -> Grid:
    _check_range(low, high, step, log, "float")
    if step is not None:
        ratio = (high - low) / step
        if not math.isclose(ratio, round(ratio), rel_tol=1e-9):
            raise InputError(f"{step:g} does not divide high - low = {high - low:g}", key="float.step")
    return Grid(low, high, step, log, unit)


def _check_range(low: float, high: float, step: float | None, log: bool, kind: str) -> None:
    if low > high:
        raise InputError(f"low ({low:g}) is above high ({high:g})", key=kind)
    if low == high:
        raise InputError(f"low and high are both {low:g}: set it in 'design' instead of sweeping it", key=kind)
    if step is not None and step <= 0:
        raise InputError(f"must be above 0, got {step:g}", key=f"{kind}.step")
    if step is not None and log:
        raise InputError("a logarithmic range has no step; drop 'step' or 'log'", key=kind)
    if log and low <= 0:
        raise InputError(f"a logarithmic range must start above 0, got {low:g}", key=f"{kind}.low")
