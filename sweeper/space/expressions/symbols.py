"""The names an expression may use: metrics, every key of a design, `devices`, and parameters' short names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from simulator.design import units
from simulator.design.design import CATALOGUE, Design
from simulator.inputs.errors import InputError, nearest
from simulator.results.metric_plugins import metric_plugins
from simulator.results.metrics import ALL_METRICS

Kind = Literal["number", "text", "flag", "list", "record"]
Value = float | int | str | bool | None
Flat = dict[str, Any]  # design key -> value in the key's unit; list elements under `key[i]`


@dataclass(frozen=True)
class Symbol:
    """A name's type. `choices`: the texts it can be, None where any text goes. `metric`: known only by simulation.
    `record`: a mapping with keys of its own; sections that can be named (`hardware: npu-base`) read as that text."""

    kind: Kind
    unit: str = ""
    choices: tuple[str, ...] | None = None
    metric: bool = False
    record: bool = False


@lru_cache(maxsize=1)
def design_symbols() -> Mapping[str, Symbol]:
    """Every dotted key of a design (sections as text: the name they were given), from the schema."""
    schema = Design.model_json_schema(by_alias=True)
    symbols: dict[str, Symbol] = {}
    _collect(schema, schema.get("$defs", {}), "", symbols)
    symbols["devices"] = Symbol("number")  # tensor x pipeline x replicas
    return symbols


def all_symbols() -> dict[str, Symbol]:
    """Design keys and metrics; where a name is both, the design's (it needs no simulation)."""
    metric_plugins()
    metrics = {name: Symbol("number", metric.unit, metric=True) for name, metric in ALL_METRICS.items()}
    return {**metrics, **design_symbols()}


def flatten(design: Design) -> Flat:
    """Every key of `design` with its value in the key's unit, `key[i]` for elements of lists, and `devices`."""
    flat: Flat = {}
    for section, record in design.model_dump(by_alias=True).items():
        if section in CATALOGUE:
            flat[section] = None if record is None else record.get("name")
        _flatten(record, section, flat)
    flat["devices"] = design.parallelism.devices
    return flat


def read_leaf(key: str, raw: Any, symbol: Symbol) -> Flat:
    """What the flat view holds after `key` was set to `raw` (as written in YAML)."""
    flat: Flat = {}
    _flatten(units.parse(raw, symbol.unit) if symbol.unit and raw is not None else raw, key, flat)
    return flat


def _flatten(value: Any, key: str, flat: Flat) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _flatten(inner, f"{key}.{name}", flat)
        return
    flat[key] = value
    if isinstance(value, list | tuple):
        for i, item in enumerate(value[:16]):
            _flatten(item, f"{key}[{i}]", flat)


def _collect(schema: dict[str, Any], definitions: dict[str, Any], key: str, symbols: dict[str, Symbol]) -> None:
    """Adds the symbols below `key`, whose JSON schema is `schema`."""
    variants = [_resolved(variant, definitions) for variant in schema.get("anyOf", [schema])]
    variants = [variant for variant in variants if variant.get("type") != "null"]
    objects = [variant for variant in variants if variant.get("type") == "object"]
    if objects:
        if key:
            symbols[key] = Symbol("text" if key in CATALOGUE else "record", record=True)
        for name, inner in objects[0].get("properties", {}).items():
            _collect(inner, definitions, f"{key}.{name}" if key else name, symbols)
        return
    symbols[key] = _leaf(variants, schema.get("unit"))
    for variant in variants:
        for i, item in enumerate(variant.get("prefixItems", [])):
            _collect(item, definitions, f"{key}[{i}]", symbols)


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return dict(definitions[schema["$ref"].rsplit("/", 1)[1]])
    return schema


def _leaf(variants: list[dict[str, Any]], unit: str | None) -> Symbol:
    unit = next((v["unit"] for v in variants if "unit" in v), unit)
    types = {v.get("type", type(v.get("const", "")).__name__) for v in variants}
    numeric_enum = any(isinstance(value, int) for variant in variants for value in variant.get("enum", []))
    if unit is not None or types & {"integer", "number"} or numeric_enum:
        return Symbol("number", unit or "")
    if "array" in types:
        return Symbol("list")
    if "boolean" in types:
        return Symbol("flag")
    enums = [tuple(v.get("enum", [v["const"]] if "const" in v else [])) for v in variants]
    choices = tuple(str(c) for enum in enums for c in enum)
    return Symbol("text", choices=choices or None)


def lookup(name: str, symbols: Mapping[str, Symbol]) -> Symbol:
    """The symbol called `name`. Raises InputError with the nearest valid name, looked for where it is likeliest."""
    if (symbol := symbols.get(name)) is not None:
        return symbol
    pool = [s for s in symbols if ("." in s) == ("." in name)]
    raise InputError(f"unknown name '{name[:80]}'; {nearest(name, pool)}")
