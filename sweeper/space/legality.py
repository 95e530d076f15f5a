"""The checks of a space that need no simulation: impossible choices, and constraints that a point breaks as written."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from simulator.design.load import refuse_idle, validate
from simulator.inputs.errors import InputError
from simulator.prepare import violations
from simulator.silicon.money import same_basis
from sweeper.space.expressions.expression import Expression, UndefinedError
from sweeper.space.expressions.grammar import Compare, Logic, Name, Node, Number
from sweeper.space.expressions.symbols import Flat, design_symbols, read_leaf
from sweeper.space.objectives import Constraint
from sweeper.space.parameters import Choices, Grid, Parameter, label
from sweeper.space.space import Space, Values, is_structural, reads

MAX_COMBINATIONS = 50_000  # of the parameters that one group of constraints reads
ILLEGAL = "legal_combination"  # the constraint that the schema's own rules stand for
TRIES = 60  # random completions tried before a choice counts as impossible


def check_choices(space: Space) -> None:
    """Each value of each parameter must give a valid design, in the base design or with other parameters' values.

    Raises InputError with the schema's own complaint for the first that cannot.
    """
    base = validate(space.base)
    for parameter in space.parameters:
        for key in parameter.keys:
            refuse_idle(key, base)
        for place, value in _probes(parameter):
            setting = {key: parameter.written(value) for key in parameter.keys}
            try:
                space.design_with(setting)
            except InputError as error:
                if not _possible(space, parameter, value):
                    raise _at(error, parameter, place) from None
        _check_same(parameter)
        _check_exists(space, parameter)


def check_replicates(space: Space) -> None:
    """Every workload of the space must have the replicates of the base design's. Raises InputError."""
    for parameter in space.parameters:
        if "workload" not in parameter.keys:
            continue
        for place, value in _probes(parameter):
            try:
                own = space.design_with({"workload": parameter.written(value)}).workload.replicates or 1
            except InputError:  # possible with other parameters' values only; the evaluation will say
                continue
            if own != space.replicates:
                error = InputError(f"has {own} replicates, the base design {space.replicates}; designs are compared on the "
                                   "same replicates", key="workload.replicates")
                raise _at(error, parameter, place)


def check_basis(space: Space) -> None:
    """All amounts of a space must stand on one cost basis, that of the base design. Raises InputError."""
    base = space.design_with({}).costs
    for parameter in space.parameters:
        if not {"costs", "costs.cost_basis"} & set(parameter.keys):
            continue
        for place, value in _probes(parameter):
            written = {key: parameter.written(value) for key in parameter.keys}
            try:
                own = space.design_with(written).costs
            except InputError:  # possible with other parameters' values only; the evaluation will say
                continue
            try:
                same_basis(base, own)
            except InputError as error:
                raise _at(error, parameter, place) from None


def check_constraints(space: Space) -> None:
    """Static constraints must have a common solution; bounds on one metric must leave room. Raises InputError."""
    _check_bounds(space.constraints)
    for group in _groups(space):
        _check_group(space, group)


def _check_same(parameter: Parameter) -> None:
    """Two choices that mean the same (1 GHz and 1000 MHz) would be one design twice."""
    if not isinstance(parameter.domain, Choices) or is_structural(parameter):
        return
    key = parameter.keys[0]
    seen: dict[str, object] = {}
    for value in parameter.domain.values:
        meant = repr(sorted(read_leaf(key, value, design_symbols()[key]).items()))
        if meant in seen:
            raise InputError(f"{label(seen[meant])} and {label(value)} mean the same",
                             key=f"parameters.{parameter.name}")
        seen[meant] = value


def _check_exists(space: Space, parameter: Parameter) -> None:
    """The condition of a parameter must hold somewhere."""
    if parameter.when is None:
        return
    readers = [parameter]
    for reader in readers:  # grows: those it reads, those they read
        readers += [p for p in space.parameters if reader.when and reads(reader.when, p) and p not in readers]
    names = {p.name for p in readers} - {parameter.name}
    sizes = [p.domain.count for p in readers[1:]]
    if None in sizes or math.prod(size or 1 for size in sizes) > MAX_COMBINATIONS:
        return
    if not any(_true(parameter.when, space.flat(values)) for values in space.combinations(names)):
        who = f"no value of {', '.join(sorted(names))} satisfies" if names else "the base design does not satisfy"
        raise InputError(f"the parameter never exists: {who} '{parameter.when.text}'",
                         key=f"parameters.{parameter.name}.when")


def _probes(parameter: Parameter) -> Iterator[tuple[str, object]]:
    """Values to try and where they stand in the YAML: all listed ones, the ends of a range."""
    match parameter.domain:
        case Choices(values, ordered):
            yield from ((f"{'ordinal' if ordered else 'choices'}[{i}]", value) for i, value in enumerate(values))
        case Grid(low, high):
            kind = "int" if parameter.domain.whole else "float"
            yield from ((f"{kind}.low", low), (f"{kind}.high", high))


def _possible(space: Space, parameter: Parameter, value: object) -> bool:
    """Whether some point of the space with this value is a valid design (a fixed pseudo-random search)."""
    rng = random.Random(0)
    for _ in range(TRIES):
        values = space.sample(rng)
        values[parameter.name] = value
        try:
            canonical = space.canonical({**space.sample(rng), **values})
            if parameter.name not in canonical:
                continue
            space.design(canonical)
        except InputError:
            continue
        return True
    return False


def _at(error: InputError, parameter: Parameter, place: str) -> InputError:
    """The schema's complaint, told at the value in the search space that caused it."""
    cause = f"{error.key}: " if error.key and error.key not in parameter.keys else ""
    return InputError(f"{cause}{error.message}", file=None, key=f"parameters.{parameter.name}.{place}")


def _groups(space: Space) -> list[tuple[list[Constraint], list[Parameter]]]:
    """Static constraints that share parameters, with the parameters they read and those that decide their presence."""
    groups: list[tuple[list[Constraint], list[Parameter]]] = []
    for constraint in space.static_constraints:
        names = {p.name for p in space.parameters if reads(constraint.expression, p)}
        while True:
            more = {q.name for p in space.parameters if p.name in names and p.when is not None
                    for q in space.parameters if reads(p.when, q)} - names
            if not more:
                break
            names |= more
        mine = [p for p in space.parameters if p.name in names]
        joined = [constraint]
        for group in list(groups):
            if any(p in mine for p in group[1]):
                groups.remove(group)
                joined = group[0] + joined
                mine = [p for p in space.parameters if p in mine or p in group[1]]
        groups.append((joined, mine))
    return groups


def _check_group(space: Space, group: tuple[list[Constraint], list[Parameter]]) -> None:
    constraints, parameters = group
    if any(p.domain.count is None for p in parameters):
        return
    if math.prod(p.domain.count or 1 for p in parameters) > MAX_COMBINATIONS:
        return
    satisfied = [0] * len(constraints)
    for values in space.combinations({p.name for p in parameters}):
        held = [_holds(constraint, space, values) for constraint in constraints]
        if all(held):
            return
        satisfied = [count + h for count, h in zip(satisfied, held, strict=True)]
    where = ", ".join(p.name for p in parameters)
    for constraint, count in zip(constraints, satisfied, strict=True):
        if not count:
            who = f"no value of {where} satisfies" if where else "the base design does not satisfy"
            raise InputError(f"{who} '{constraint.expression.text}'; relax it or widen the choices",
                             key=_key(constraint))
    texts = " and ".join(f"'{c.expression.text}'" for c in constraints)
    raise InputError(f"{texts} contradict each other: no combination of {where or 'settings'} satisfies all",
                     key="constraints")


def _holds(constraint: Constraint, space: Space, values: Values) -> bool:
    return _true(constraint.expression, space.flat(values))


def _true(condition: Expression, flat: Flat) -> bool:
    try:
        return condition.holds(flat)
    except UndefinedError:
        return False


def _check_bounds(constraints: Iterable[Constraint]) -> None:
    """Bounds like `ttft_p99 <= 1 s` and `ttft_p99 >= 2 s` on one metric; every metric is at least 0."""
    lowest: dict[str, tuple[float, bool, str]] = {}
    highest: dict[str, tuple[float, bool, str]] = {}
    for constraint in constraints:
        for name, op, bound in _bounds(constraint.expression.tree):
            if name not in constraint.expression.metrics:
                continue
            strict = op in ("<", ">")
            lowest.setdefault(name, (0.0, False, f"{name} >= 0 (all metrics are)"))
            tighter = name not in highest or (bound, not strict) < (highest[name][0], not highest[name][1])
            if op in ("<", "<=", "==") and tighter:
                highest[name] = (bound, strict, constraint.expression.text)
            if op in (">", ">=", "==") and (bound, strict) > lowest[name][:2]:
                lowest[name] = (bound, strict, constraint.expression.text)
            if name in highest:
                (low, open_low, why_low), (high, open_high, why_high) = lowest[name], highest[name]
                if low > high or (low == high and (open_low or open_high)):
                    raise InputError(f"'{why_low}' and '{why_high}' contradict each other: no design can satisfy both",
                                     key=_key(constraint))


def _key(constraint: Constraint) -> str:
    """Where the constraint stands: its name, unless that is the expression itself."""
    return "constraints" if constraint.name == constraint.expression.text else f"constraints.{constraint.name}"


_MIRROR = {"<=": ">=", ">=": "<=", "<": ">", ">": "<", "==": "==", "!=": "!="}


def _bounds(tree: Node) -> Iterator[tuple[str, str, float]]:
    """(name, comparison, constant in base units) of the simple comparisons that must all hold."""
    match tree:
        case Logic("and", operands):
            for operand in operands:
                yield from _bounds(operand)
        case Compare(op, Name(name), Number(value)):
            yield name, op, value
        case Compare(op, Number(value), Name(name)):
            yield name, _MIRROR[op], value


def broken_rule(space: Space, point: Mapping[str, Any]) -> str | None:
    """The name of a constraint that the point misses by its settings alone; None where it must be evaluated."""
    static = space.static_constraints
    if not static:
        return None
    flat = space.flat(point)
    for constraint in static:
        try:
            if constraint.expression.violation(flat) > 0:
                return constraint.name
        except UndefinedError:  # the worker, which builds the design, will say what is wrong
            continue
    return None


def illegal(space: Space, point: Mapping[str, Any]) -> str | None:
    """The name of the first rule that the point misses without a simulation: a constraint, the schema's rules, or one of the
    simulator's own (`memory_fit`, `model_split`, ...). None where it can be simulated."""
    rule = broken_rule(space, point)
    if rule is not None:
        return rule
    try:
        missed = violations(space.design(point))
    except InputError:
        return ILLEGAL
    return missed[0].name if missed else None
