"""The `Space`: the set of designs that a search-space YAML spans. Frozen; everything here is a pure function of it.

A point is a mapping parameter -> value, canonical when parameters whose condition is false are absent: two canonical
points are equal exactly when they mean the same settings. `sweeper.space.file.load_space` reads one from YAML.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simulator.analysis.rate_search import Target
from simulator.design.design import Design
from simulator.design.load import apply_overrides, expand, validate
from simulator.inputs.errors import InputError, nearest
from sweeper.space.design_cache import DesignCache
from sweeper.space.expressions.expression import Expression, UndefinedError
from sweeper.space.expressions.symbols import Flat, Symbol, design_symbols, flatten, read_leaf
from sweeper.space.objectives import Constraint, Objective
from sweeper.space.parameters import Parameter, label
from sweeper.space.portable import portable_plain
from sweeper.space.schema import StudySpec

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Values = dict[str, Any]
_COMPACT = json.JSONEncoder(separators=(",", ":"))
QUESTION = ("model", "workload", "slo", "costs")  # sections of a design that say what is asked; the others answer
MAX_COUNTED = 200_000  # combinations of parameters that conditions read, before size() gives up


@dataclass(frozen=True)
class Baseline:
    """A named design that every study evaluates, inside the space or not."""

    name: str
    design: Design


@dataclass(frozen=True)
class Space:
    """A search space. `parameters` stand in an order in which conditions only read earlier ones."""

    name: str
    file: str
    description: str
    base: dict[str, Any]  # the base design as expanded plain data
    base_flat: Flat
    parameters: tuple[Parameter, ...]
    constraints: tuple[Constraint, ...]
    objectives: tuple[Objective, ...]
    baselines: tuple[Baseline, ...]
    study: StudySpec
    capacity: Target | None = None  # what a capacity search of every design must meet; None: no such search
    _skeletons: dict[str, Flat] = field(default_factory=dict, repr=False, compare=False)
    _leaves: dict[tuple[str, str], Flat] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def hash(self) -> str:
        """Content hash of all that gives a trial its meaning: base design, parameters, constraints, objectives."""
        said: dict[str, Any] = {
            "base": portable_plain(validate(self.base), engine_swept=self.engine_swept),
            "parameters": [[p.name, p.keys, repr(p.domain), p.when.text if p.when else ""] for p in self.parameters],
            "constraints": [[c.name, c.expression.text] for c in self.constraints],
            "objectives": [[o.name, o.direction, o.expression.text, o.unit] for o in self.objectives],
            "baselines": [[b.name, portable_plain(b.design)] for b in self.baselines],
        }
        if self.capacity is not None:
            said["capacity"] = [dict(self.capacity.limits), self.capacity.tolerance, self.capacity.seeds]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def _design_cache(self) -> DesignCache:
        return DesignCache(self.base, self.file)

    @cached_property
    def static_constraints(self) -> tuple[Constraint, ...]:
        """Constraints that the design alone decides."""
        return tuple(c for c in self.constraints if c.expression.static)

    @cached_property
    def metrics_read(self) -> frozenset[str]:
        """Metrics that constraints and objectives read."""
        read_by = [*(c.expression for c in self.constraints), *(o.expression for o in self.objectives)]
        return frozenset[str]().union(*(expression.metrics for expression in read_by))

    @cached_property
    def engine_swept(self) -> bool:
        """Whether designs of the space differ in their engine."""
        return any(key.split(".", 1)[0] == "engine" for p in self.parameters for key in p.keys)

    @property
    def replicates(self) -> int:
        """How many traces each design is simulated on; the same for all of them, baselines included."""
        return self.base_flat.get("workload.replicates") or 1

    @property
    def directions(self) -> list[Literal["minimize", "maximize"]]:
        """'minimize' or 'maximize' for each objective, as Optuna takes them."""
        return [o.direction for o in self.objectives]

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name. Raises InputError."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise InputError(f"unknown parameter '{name}'; {nearest(name, [p.name for p in self.parameters])}")

    def canonical(self, values: Mapping[str, Any]) -> Values:
        """`values` without the parameters that do not exist there. Raises InputError for what is not in the space."""
        for name in values:
            self.parameter(name)
        result: Values = {}
        flat = self.base_flat
        for parameter in self.parameters:
            if not self._exists(parameter, flat):
                continue
            if parameter.name not in values:
                raise InputError("has no value", key=parameter.name)
            value = values[parameter.name]
            try:
                parameter.domain.encode(value)
            except InputError as error:
                raise error.within(prefix=parameter.name) from None
            result[parameter.name] = value
            flat = self._with(flat, parameter, result)
        return result

    def key(self, values: Mapping[str, Any]) -> str:
        """A canonical point as text, to compare and remember points by."""
        return _COMPACT.encode([[p.name, values[p.name]] for p in self.parameters if p.name in values])

    def overrides(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Design keys and what the canonical point sets them to, as YAML would say it."""
        return {key: p.written(values[p.name]) for p in self.parameters if p.name in values for key in p.keys}

    def design(self, values: Mapping[str, Any]) -> Design:
        """The design at a canonical point. Raises InputError for a combination that the schema refuses."""
        return self._design_cache.build(self.overrides(values))[0]

    def keyed_design(self, values: Mapping[str, Any]) -> tuple[Design, str]:
        """As `design`, with its `simulator.design_key.design_key`. Raises InputError."""
        return self._design_cache.build(self.overrides(values))

    def design_with(self, overrides: dict[str, Any]) -> Design:
        """The base design with any dotted overrides. Raises InputError."""
        return self.design_of(self.base, overrides)

    def design_of(self, plain: dict[str, Any], overrides: dict[str, Any]) -> Design:
        """A design as expanded plain data with any dotted overrides; names and paths as in the space's file. Raises InputError."""
        changed = apply_overrides(plain, overrides)
        return validate(expand(changed, file=self.file, folder=Path(self.file).parent), file=self.file)

    def flat(self, values: Mapping[str, Any]) -> Flat:
        """What expressions read at a canonical point: every design key. Much cheaper than `design`; checks nothing."""
        named = {p.name: values[p.name] for p in self._structural if p.name in values}
        flat = dict(self._skeleton(named))
        for parameter in self.parameters:
            if parameter.name in values and parameter.name not in named:
                flat.update(self._leaves_of(parameter, values[parameter.name]))
        flat["devices"] = flat["parallelism.tensor"] * flat["parallelism.pipeline"] * flat["parallelism.replicas"]
        return flat

    def enumerate(self) -> Iterator[Values]:
        """Every canonical point once, the last parameter varying fastest. Raises InputError for a continuum."""
        for parameter in self.parameters:
            parameter.values()
        yield from self.combinations({p.name for p in self.parameters})

    def combinations(self, among: set[str]) -> Iterator[Values]:
        """Every combination of the parameters `among`, the others left as in the base design."""
        return (values for values, _ in self._combinations(0, {}, self.base_flat, among))

    def size(self) -> int | None:
        """How many canonical points there are; None for a continuum (or too many conditions to count)."""
        if any(p.domain.count is None for p in self.parameters):
            return None
        total = 0
        for counted, (_, free) in enumerate(self.blocks()):
            if counted == MAX_COUNTED:
                return None
            total += math.prod(parameter.domain.count or 1 for parameter in free)
        return total

    def blocks(self) -> Iterator[tuple[Values, list[Parameter]]]:
        """The space as full grids: the parameters that conditions read, fixed, and the others that exist there."""
        read = {p.name for p in self.parameters if self.is_read(p)}
        for values, flat in self._combinations(0, {}, self.base_flat, read):
            yield values, [p for p in self.parameters if p.name not in read and self._exists(p, flat)]

    def is_read(self, parameter: Parameter) -> bool:
        """Whether a condition of another parameter looks at it."""
        return any(p.when is not None and reads(p.when, parameter) for p in self.parameters)

    def sample(self, rng: random.Random) -> Values:
        """A random canonical point: each parameter even over its values."""
        values: Values = {}
        flat = self.base_flat
        for parameter in self.parameters:
            if self._exists(parameter, flat):
                values[parameter.name] = parameter.domain.sample(rng)
                flat = self._with(flat, parameter, values)
        return values

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's view of all parameters: ask with these, then `decode` drops those that do not exist there."""
        return {p.name: p.domain.distribution() for p in self.parameters}

    def encode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A canonical point as Optuna parameters (ordinals as index, lists as text)."""
        return {p.name: p.domain.encode(values[p.name]) for p in self.parameters if p.name in values}

    def decode(self, encoded: Mapping[str, Any]) -> Values:
        """The canonical point that Optuna's parameters mean."""
        return self.canonical({p.name: p.domain.decode(encoded[p.name]) for p in self.parameters if p.name in encoded})

    def _exists(self, parameter: Parameter, flat: Flat) -> bool:
        if parameter.when is None:
            return True
        try:
            return parameter.when.holds(flat)
        except UndefinedError:  # reads a key that this design does not have
            return False

    def _with(self, flat: Flat, parameter: Parameter, values: Values) -> Flat:
        """`flat` after `parameter` got its value; unchanged where no condition will look."""
        if any(later.when is not None and reads(later.when, parameter) for later in self.parameters):
            return self.flat(values)
        return flat

    def _combinations(self, at: int, values: Values, flat: Flat, among: set[str]) -> Iterator[tuple[Values, Flat]]:
        """All points of the parameters `among`, from the at-th on."""
        if at == len(self.parameters):
            yield dict(values), flat
            return
        parameter = self.parameters[at]
        if parameter.name not in among or not self._exists(parameter, flat):
            yield from self._combinations(at + 1, values, flat, among)
            return
        for value in parameter.values():
            inner = {**values, parameter.name: value}
            yield from self._combinations(at + 1, inner, self._with(flat, parameter, inner), among)

    @cached_property
    def _structural(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if is_structural(p))

    def _leaves_of(self, parameter: Parameter, value: Any) -> Flat:
        """What the flat view says of a parameter's keys; read once for each value of a discrete parameter."""
        known = self._leaves.get((parameter.name, repr(value)))
        if known is not None:
            return known
        symbols = design_symbols()
        written = parameter.written(value)
        leaves = {k: v for key in parameter.keys for k, v in read_leaf(key, written, symbols[key]).items()}
        if parameter.domain.count is not None:
            self._leaves[parameter.name, repr(value)] = leaves
        return leaves

    def _skeleton(self, named: Values) -> Flat:
        """The flat base design after whole records were exchanged (a combination that cannot be built: the base's)."""
        if not named:
            return self.base_flat
        key = json.dumps(named, sort_keys=True)
        if key not in self._skeletons:
            try:
                flat = flatten(self.design(named))
            except InputError:
                flat = dict(self.base_flat)
            flat.update({k: v for k, v in self.overrides(named).items() if isinstance(v, str)})
            self._skeletons[key] = flat
        return self._skeletons[key]


def is_structural(parameter: Parameter) -> bool:
    """Whether it exchanges whole records (`hardware: h100-sxm`) and not only single keys."""
    symbols: Mapping[str, Symbol] = design_symbols()
    return any(symbols[key].record for key in parameter.keys)


def reads(expression: Expression, parameter: Parameter) -> bool:
    """Whether the expression looks at anything that the parameter sets."""
    return any(_touches(key, name) for key in parameter.keys for name in expression.names)


def _touches(key: str, name: str) -> bool:
    if name == "devices":
        return key == "parallelism" or key.startswith("parallelism.")
    return name == key or name.startswith((f"{key}.", f"{key}["))


def describe(values: Mapping[str, Any]) -> str:
    """A point as one line: 'parallelism.tensor=4 precision.kv=fp8'."""
    return " ".join(f"{name}={label(value)}" for name, value in values.items())
