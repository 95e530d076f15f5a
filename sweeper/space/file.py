"""The loader from a search-space YAML to a Space: every mistake is found here, before anything runs, and named in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from simulator.analysis.rate_search import DEFAULT_SEEDS, Target, default_target, limits_of, parse_share
from simulator.design.load import apply_overrides, as_input_error, expand, find_config, validate
from simulator.design.units import unit_dimension, unit_scale
from simulator.inputs.errors import InputError, nearest
from simulator.inputs.shipped import shipped_folder
from simulator.inputs.yaml_file import load_yaml
from simulator.results.metrics import ALL_METRICS, CAPACITY_METRICS
from simulator.silicon.money import BASIS_WORD, same_basis
from sweeper.space import legality
from sweeper.space.expressions import expression as expressions
from sweeper.space.expressions.checking import base_unit
from sweeper.space.expressions.grammar import FUNCTIONS, KEYWORDS, Name, is_unit
from sweeper.space.expressions.symbols import Flat, Symbol, all_symbols, design_symbols, flatten
from sweeper.space.objectives import Constraint, Objective
from sweeper.space.parameters import Parameter, domain
from sweeper.space.schema import CapacitySpec, ObjectiveSpec, ParameterSpec, SpaceFile
from sweeper.space.space import QUESTION, Baseline, Space, reads

SPACES = shipped_folder("sweeper", "search_spaces")
MONEY = "[money]"  # the dimension of amounts
_SHORT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def load_space(source: str | Path, overrides: dict[str, Any] | None = None) -> Space:
    """The Space in a YAML file, or of that name in `search_spaces/`; `overrides` are dotted keys of its base design.

    Raises InputError naming file, key and fix.
    """
    path = find_space(source)
    file = str(path)
    plain = load_yaml(path)
    if not isinstance(plain, dict):
        raise InputError("expected a mapping with design, parameters and objectives", file=file)
    if "parameters" not in plain and plain.keys() & {"model", "hardware"}:
        raise InputError(f"is a design, not a search space; simulate it with `python -m simulator run {source}`", file=file)
    try:
        said = SpaceFile.model_validate(plain)
    except ValidationError as error:
        raise as_input_error(error, SpaceFile, file) from None
    try:
        return _build(said, path, overrides or {})
    except InputError as error:
        raise error.within(file=file) from None


def find_space(source: str | Path) -> Path:
    """A path as it is, or a name in `search_spaces/`. Raises InputError."""
    if not str(source) or len(str(source)) > 1000 or "\0" in str(source):
        raise InputError(f"'{str(source)[:40]}' is no such file and no name of a search space")
    path = Path(source)
    known = {p.stem: p for p in sorted(SPACES.glob("*.yaml"))}
    if path.suffix or path.exists() or len(path.parts) > 1:
        return path
    if path.name in known:
        return known[path.name]
    raise InputError(f"no such search space: '{source}'; {nearest(path.name, known)}")


def _build(said: SpaceFile, path: Path, overrides: dict[str, Any]) -> Space:
    file = str(path)
    base, base_flat = _base_design(said.design, path, overrides)
    symbols = all_symbols()
    parameters = _parameters(said.parameters, overrides, symbols)
    aliases = {p.name: p.keys[0] for p in parameters if p.name not in symbols}
    constraints = _constraints(said.constraints, symbols, aliases)
    objectives = _objectives(said.objectives, symbols, aliases, BASIS_WORD[base_flat["costs.cost_basis"]])
    space = Space(said.name or path.stem, file, said.description, base, base_flat, parameters, constraints,
                  objectives, (), said.study, _capacity(said.capacity, constraints, objectives, base))
    legality.check_choices(space)
    legality.check_replicates(space)
    legality.check_basis(space)
    legality.check_constraints(space)
    return Space(space.name, file, said.description, base, base_flat, parameters, constraints, objectives,
                 _baselines(said.baselines, space), said.study, space.capacity)


def _base_design(said: str | dict[str, Any], path: Path, overrides: dict[str, Any]) -> tuple[dict[str, Any], Flat]:
    """The base design, expanded, and its flat view."""
    file, folder = str(path), path.parent
    try:
        if isinstance(said, str):
            design_path = find_config(said, "designs", folder, file=file)
            file, folder = str(design_path), design_path.parent
            said = load_yaml(design_path)
            if not isinstance(said, dict):
                raise InputError("expected a mapping with the sections of a design", file=file)
        expanded = expand(apply_overrides(said, overrides), file=file, folder=folder)
        flat = flatten(validate(expanded, file=file))
    except InputError as error:
        raise error.within(prefix="design") if error.file in (None, str(path)) else error from None
    return expanded, flat


def _parameters(said: dict[str, ParameterSpec], overrides: dict[str, Any], symbols: dict[str, Symbol],
                ) -> tuple[Parameter, ...]:
    setters: dict[str, str] = {}
    plain: list[Parameter] = []
    for name, spec in said.items():
        try:
            keys = _keys(name, spec)
            for key in keys:
                if key in setters:
                    raise InputError(f"sets '{key}', which parameter '{setters[key]}' sets already")
                if key in overrides:
                    raise InputError(f"is swept and cannot be fixed by --set {key}; drop one of the two")
                setters[key] = name
            plain.append(Parameter(name, keys, domain(spec)))
        except InputError as error:
            raise error.within(prefix=f"parameters.{name}") from None
    aliases = {p.name: p.keys[0] for p in plain if p.name not in symbols}
    result = []
    for parameter in plain:
        when = said[parameter.name].when
        if when is None:
            result.append(parameter)
            continue
        try:
            condition = expressions.parse_condition(when, symbols, aliases)
            if not condition.static:
                raise InputError(f"a condition can only read the design, but '{min(condition.metrics)}' "
                                 "is known after a simulation")
            if not condition.names:
                raise InputError("reads nothing; drop it, or compare a parameter or design key with something")
        except InputError as error:
            raise error.within(prefix=f"parameters.{parameter.name}.when") from None
        result.append(Parameter(parameter.name, parameter.keys, parameter.domain, condition))
    return _ordered(result)


def _keys(name: str, spec: ParameterSpec) -> tuple[str, ...]:
    """The design keys of a parameter; its name is one of them, or short where it has `sets`."""
    symbols = design_symbols()
    if spec.sets is None:
        _check_key(name)
        return (name,)
    for i, key in enumerate(spec.sets):
        try:
            _check_key(key)
        except InputError as error:
            raise error.within(prefix=f"sets[{i}]") from None
        if key in spec.sets[:i]:
            raise InputError(f"'{key}' is listed twice", key="sets")
    if not _SHORT_NAME.fullmatch(name):
        raise InputError("a parameter with 'sets' needs a short name of letters, digits and underscores")
    if name in symbols or name in ALL_METRICS or name in FUNCTIONS or name in KEYWORDS or is_unit(name):
        raise InputError(f"'{name}' already means something in expressions; choose another name")
    return tuple(spec.sets)


def _check_key(key: str) -> None:
    symbols = design_symbols()
    if key == "devices" or "[" in key:
        raise InputError("is derived and cannot be set" if key == "devices" else "set the whole list, not an element")
    if key == "workload.replicates":
        raise InputError("cannot vary: designs are compared on the same replicates; set it in the base design")
    if key not in symbols:
        settable = [s for s in symbols if "[" not in s and s != "devices" and ("." in s) == ("." in key)]
        hint = "" if "." in key else " (a short name of your own needs 'sets: [design keys]')"
        raise InputError(f"unknown design key '{key[:80]}'; {nearest(key, settable)}{hint}")


def _ordered(parameters: list[Parameter]) -> tuple[Parameter, ...]:
    """Parameters so that conditions read earlier ones only, else as written. Raises InputError for a circle."""
    waiting, done = list(parameters), list[Parameter]()
    while waiting:
        ready = next((p for p in waiting if p.when is None
                      or not any(reads(p.when, other) for other in waiting)), None)
        if ready is None:
            names = " -> ".join(_circle(waiting))
            raise InputError(f"conditions refer to each other in a circle: {names}",
                             key=f"parameters.{waiting[0].name}.when")
        waiting.remove(ready)
        done.append(ready)
    return tuple(done)


def _circle(waiting: list[Parameter]) -> list[str]:
    """The names along one circle of conditions."""
    path = [waiting[0]]
    while True:
        when = path[-1].when
        following = next(p for p in waiting if when is not None and reads(when, p))
        if following in path:
            return [p.name for p in [*path[path.index(following):], following]]
        path.append(following)


def _constraints(said: list[str] | dict[str, str], symbols: dict[str, Symbol], aliases: dict[str, str],
                 ) -> tuple[Constraint, ...]:
    named = said if isinstance(said, dict) else {str(i): text for i, text in enumerate(said)}
    result: list[Constraint] = []
    for name, text in named.items():
        where = f"constraints.{name}" if isinstance(said, dict) else f"constraints[{name}]"
        try:
            expression = expressions.parse_condition(text, symbols, aliases)
            if not expression.names:
                outcome = "always true: drop it" if expression.holds({}) else "never true: no design can satisfy it"
                raise InputError(f"'{expression.text[:80]}' reads no metric or design key and is {outcome}")
            own = name if isinstance(said, dict) else expression.text
            if any(own == c.name for c in result):
                raise InputError(f"'{own[:80]}' is given twice")
        except InputError as error:
            raise error.within(prefix=where) from None
        result.append(Constraint(own, expression))
    return tuple(result)


def _objectives(said: list[ObjectiveSpec], symbols: dict[str, Symbol], aliases: dict[str, str], basis: str,
                ) -> tuple[Objective, ...]:
    result: list[Objective] = []
    for i, spec in enumerate(said):
        try:
            objective = _objective(spec, symbols, aliases, basis)
            if any(objective.name == o.name for o in result):
                raise InputError(f"'{objective.name[:80]}' is given twice; set 'name' to tell them apart")
            if any(objective.expression.text == o.expression.text for o in result):
                raise InputError(f"'{objective.expression.text[:80]}' is given twice")
        except InputError as error:
            raise error.within(prefix=f"objectives[{i}]") from None
        result.append(objective)
    return tuple(result)


def _objective(spec: ObjectiveSpec, symbols: dict[str, Symbol], aliases: dict[str, str], basis: str) -> Objective:
    if (spec.minimize is None) == (spec.maximize is None):
        raise InputError("give exactly one of minimize and maximize")
    text = spec.minimize if spec.minimize is not None else spec.maximize
    expression = expressions.parse_number(text, symbols, aliases)
    if not expression.names:
        raise InputError(f"'{expression.text[:80]}' is a constant; read at least one metric or design key")
    own = symbols[expression.tree.name].unit if isinstance(expression.tree, Name) else None
    unit = spec.unit if spec.unit is not None else own if own is not None else expression.unit
    if unit_dimension(unit) != expression.dimension:
        raise InputError(f"'{unit[:40]}' is not a unit of '{expression.text[:80]}', which is in "
                         f"{base_unit(expression.dimension) or 'plain numbers'}", key="unit")
    name = spec.name or re.sub(r"[^A-Za-z0-9]+", "_", expression.text).strip("_")[:48]
    if not _SHORT_NAME.fullmatch(name):
        raise InputError("must be letters, digits and underscores", key="name")
    if name in ALL_METRICS and not (isinstance(expression.tree, Name) and expression.tree.name == name):
        raise InputError(f"'{name}' is a metric of its own; choose another name", key="name")
    return Objective(name, "minimize" if spec.minimize is not None else "maximize", expression, unit,
                     unit_scale(unit)[0] if unit else 1.0,
                     basis if any(name == MONEY for name, _ in expression.dimension) else "")


def _capacity(said: CapacitySpec | None, constraints: tuple[Constraint, ...], objectives: tuple[Objective, ...],
              base: dict[str, Any]) -> Target | None:
    """The capacity search of every design: where it is asked for, or a metric of it is read."""
    read_by = [*(c.expression for c in constraints), *(o.expression for o in objectives)]
    read = {name for expression in read_by for name in expression.metrics} & CAPACITY_METRICS.keys()
    if said is None and not read:
        return None
    said = said or CapacitySpec()
    design = validate(base)
    wanted = design.workload.replicates
    try:
        if wanted and said.seeds not in (None, wanted):
            raise InputError(f"must be the workload's replicates ({wanted}), or absent", key="seeds")
        limits = limits_of(said.slo) or default_target(design).limits
        return Target(limits, parse_share(said.tolerance, "tolerance"), said.seeds or wanted or DEFAULT_SEEDS)
    except InputError as error:
        raise error.within(prefix="capacity") from None


def _baselines(said: dict[str, str | dict[str, Any]], space: Space) -> tuple[Baseline, ...]:
    """Baselines answer the space's question: its model, workload, SLO and costs, unless they say otherwise. All else is the
    base design's with the changes that a baseline names, or, where it names a design, that design's alone: sections replace
    whole sections. Amounts of a baseline and of the space must stand on one basis."""
    result = []
    for name, changes in said.items():
        try:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_. +-]{0,63}", name):
                raise InputError("a baseline's name is letters, digits, spaces and _ . + -")
            changes = {"design": changes} if isinstance(changes, str) else dict(changes)
            start, plain = changes.pop("design", None), space.base
            if start is not None:
                other, _ = _base_design(start, Path(space.file), {})
                plain = {**{k: v for k, v in other.items() if k not in QUESTION},
                         **{k: v for k, v in space.base.items() if k in QUESTION}}
            for key in changes:
                if key not in design_symbols():
                    raise InputError(f"unknown design key; {nearest(key, design_symbols())}", key=key)
            baseline = Baseline(name, space.design_of(plain, changes))
            same_basis(space.design_with({}).costs, baseline.design.costs)
            if (baseline.design.workload.replicates or 1) != space.replicates:
                raise InputError(f"must be {space.replicates} as in the base design", key="workload.replicates")
            result.append(baseline)
        except InputError as error:
            raise error.within(prefix=f"baselines.{name}") from None
    return tuple(result)
