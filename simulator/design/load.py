"""The loader from YAML to a design: it resolves names and `base:`, applies overrides, and names file and key in errors."""

from __future__ import annotations

import copy
import types
import typing
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from simulator.design.design import CATALOGUE, Design
from simulator.design.engine_defaults.resolve import resolved
from simulator.design.huggingface.read import architecture_from_config, looks_like_config
from simulator.design.records.base import Record
from simulator.design.records.engine import EngineRecord
from simulator.design.records.hardware import Hardware
from simulator.design.records.model import Architecture
from simulator.design.records.money import Costs
from simulator.inputs.errors import InputError, nearest
from simulator.inputs.shipped import shipped_folder
from simulator.inputs.yaml_file import load_yaml, parse_yaml

CONFIGS = shipped_folder("simulator", "configs")


# What a design's `schema` pins: the engine of one that names none. A design without `schema` is of the first.
SCHEMA_ENGINES: dict[int, str | None] = {1: None, 2: "vllm-0.32"}
MAX_BASES = 10  # how deep `base:` may refer to entries that have a base themselves


def load_design(source: str | Path, overrides: dict[str, Any] | None = None) -> Design:
    """The design in a YAML file, or of that name in `configs/designs`, with dotted `overrides` applied.

    Raises InputError naming file, key and fix.
    """
    path = find_config(str(source), "designs", None)
    plain = load_yaml(path)
    if not isinstance(plain, dict):
        raise InputError("expected a mapping with the sections of a design", file=str(path))
    if "parameters" in plain and "objectives" in plain:
        raise InputError(f"is a search space, not a design; sweep it with `python -m sweeper run {source}`", file=str(path))
    design = resolve(apply_overrides(plain, overrides or {}), file=str(path), folder=path.parent)
    for key in overrides or {}:
        refuse_idle(key, design)
    return design


def refuse_idle(key: str, design: Design) -> None:
    """Raises InputError for a key that changes nothing with the design's engine."""
    if design.engine is not None and (key == "hardware.host" or key.startswith("hardware.host.")):
        raise InputError(f"has no effect with engine '{design.engine.name}', whose record has the host's times: set engine.host",
                         key=key)


def load_hardware(source: str, overrides: dict[str, Any]) -> Hardware:
    """The hardware of that name or in that file, with overrides under its own keys (npu.arrays). Raises InputError."""
    changed = apply_overrides({"hardware": source}, {f"hardware.{key}": value for key, value in overrides.items()})
    plain = _expand_section("hardware", changed["hardware"], None, None)
    try:
        return Hardware.model_validate(plain)
    except ValidationError as error:
        raise as_input_error(error, Hardware, source) from None


def load_model(path: Path) -> Architecture:
    """The model in a config.json (with the hf_quant_config.json beside it) or in a file of our own keys. Raises InputError."""
    plain = _load_entry("model", path, 0)
    try:
        return Architecture.model_validate(plain)
    except ValidationError as error:
        raise as_input_error(error, Architecture, str(path)) from None


def load_engine(source: str) -> EngineRecord:
    """The engine record of that name or in that file. Raises InputError."""
    return EngineRecord.model_validate(_expand_section("engine", source, None, None))


def load_costs(source: str) -> Costs:
    """The cost assumptions of that name or in that file. Raises InputError."""
    return Costs.model_validate(_expand_section("costs", source, None, None))


def resolve(plain: dict[str, Any], *, file: str | None = None, folder: Path | None = None) -> Design:
    """The Design that a YAML mapping means. Names and relative paths are looked up from `folder`, then `configs/`."""
    return validate(expand(plain, file=file, folder=folder), file=file)


def expand(plain: dict[str, Any], *, file: str | None = None, folder: Path | None = None,
           depth: int = 0) -> dict[str, Any]:
    """`plain` with every named section and `base:` replaced by what it stands for; not yet validated."""
    if depth > MAX_BASES:
        raise InputError("designs refer to each other in a circle", file=file, key="base")
    plain = dict(plain)
    if "base" in plain:
        base_path = find_config(plain.pop("base"), "designs", folder, file=file, key="base")
        base = _mapping(load_yaml(base_path), str(base_path), None)
        expanded = expand(base, file=str(base_path), folder=base_path.parent, depth=depth + 1)
        for section, value in plain.items():  # a section with a `base` of its own replaces, else it changes
            based = isinstance(value, dict) and "base" not in value and isinstance(expanded.get(section), dict)
            expanded[section] = merge(expanded[section], value) if based else value
        plain = expanded
    plain = _with_engine(plain, file)
    result = {section: expand_section(section, value, file=file, folder=folder) for section, value in plain.items()}
    if "costs" not in result:
        result["costs"] = _expand_section("costs", "default", None, None)
    return result


def _with_engine(plain: dict[str, Any], file: str | None) -> dict[str, Any]:
    """`plain` with the engine that its `schema` pins, unless it names one."""
    version = plain.pop("schema", 1)
    if version not in SCHEMA_ENGINES or isinstance(version, bool):
        known = ", ".join(map(str, SCHEMA_ENGINES))
        raise InputError(f"{version!r} is not a schema of designs; known: {known} (2 takes its defaults from "
                         f"'engine: {SCHEMA_ENGINES[2]}', 1 or none names no engine)", file=file, key="schema")
    pinned = SCHEMA_ENGINES[version]
    return plain if pinned is None or plain.get("engine") is not None else {**plain, "engine": pinned}


def expand_section(section: str, value: Any, *, file: str | None = None, folder: Path | None = None) -> Any:
    """As `expand`, for one section."""
    return _expand_section(section, value, file, folder) if section in CATALOGUE else value


def validate(plain: dict[str, Any], *, file: str | None = None) -> Design:
    """The Design in expanded plain data; raises InputError for the first thing that is wrong."""
    try:
        return resolved(Design.model_validate(plain))
    except ValidationError as error:
        raise as_input_error(error, Design, file) from None
    except InputError as error:
        raise error.within(file=file) from None


def validate_section(section: str, plain: dict[str, Any], *, file: str | None = None) -> Record:
    """The record of one section in expanded plain data. Raises InputError with the key as the whole design has it."""
    record = section_record(section)
    try:
        return record.model_validate(plain)
    except ValidationError as error:
        raise as_input_error(error, record, file, section) from None


def section_record(section: str) -> type[Record]:
    """The record class of a section."""
    found = next(part for part in _members(Design.model_fields[section].annotation) if part is not type(None))
    return typing.cast("type[Record]", found)


def apply_overrides(plain: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """`plain` with dotted keys set: {"hardware.npu.array": [128, 128]}. Whole sections first, then their parts.

    `plain` stays as it is; the result shares with it what no key touches.
    """
    result = dict(plain)
    for key in sorted(overrides, key=lambda k: k.count(".")):
        parts = key.split(".")
        if not all(parts):
            raise InputError("is not a dotted key such as hardware.npu.array", key=key)
        node = result
        for i, part in enumerate(parts[:-1]):
            child = node.get(part)
            if isinstance(child, str) and i == 0 and part in CATALOGUE:
                child = {"base": child}
            elif child is None:
                child = {}
            elif isinstance(child, dict):
                child = dict(child)
            else:
                raise InputError(f"'{'.'.join(parts[: i + 1])}' has no parts to set", key=key)
            node[part] = child
            node = child
        node[parts[-1]] = overrides[key]
    return result


def parse_override(text: str) -> tuple[str, Any]:
    """'hardware.npu.array=[128,128]' -> key and value (read as YAML). Raises InputError."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set expects KEY=VALUE, got '{text}'")
    try:
        return key.strip(), parse_yaml(value, f"--set {key.strip()}") if value.strip() else ""
    except InputError as error:
        raise InputError(f"the value '{value}' cannot be read: {error.message}", key=key.strip(), file="--set") from None


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, mappings merged key by key, everything else replaced."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def find_config(name: Any, catalogue: str, folder: Path | None, *, file: str | None = None,
                key: str | None = None) -> Path:
    """The file that `name` means: a path (from `folder`, else the working directory) or a name in `configs/`."""
    if not isinstance(name, str) or not name or "\0" in name or len(name) > 1000:
        raise InputError(f"expected a name or a path, got {str(name)[:40]!r}", file=file, key=key)
    known = {p.stem: p for p in sorted((CONFIGS / catalogue).glob("*.yaml"))}
    if name in known:
        return known[name]
    if "/" in name or name.endswith((".yaml", ".yml", ".json")):
        for root in (folder, Path()):
            if root is not None and (root / name).is_file():
                return root / name
        raise InputError(f"no such file: {name}", file=file, key=key)
    if not known:
        raise InputError(f"'{name[:40]}' names nothing: configs/{catalogue} is empty; write a mapping or a path",
                         file=file, key=key)
    raise InputError(f"unknown {key or catalogue.rstrip('s')} '{name}'; {nearest(name, known)}", file=file, key=key)


def as_input_error(error: ValidationError, record: type[BaseModel], file: str | None, prefix: str = "") -> InputError:
    """The first error of a validation, told with the YAML's key and the nearest valid name."""
    details = min(error.errors(), key=lambda e: (e["type"] != "extra_forbidden", len(e["loc"])))
    key = ""
    for part in details["loc"]:
        if isinstance(part, int):
            key += f"[{part}]"
        elif "-" not in part and "[" not in part:  # pydantic's own labels of union members are not keys
            key += f".{part}" if key else part
    key = f"{prefix}.{key}" if prefix and key else key or prefix
    return InputError(_say(details, record), file=file, key=key or None)


def _say(details: ErrorDetails, record: type[BaseModel]) -> str:
    kind, value = details["type"], details.get("input")
    shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
    if kind == "extra_forbidden":
        owner = _record_at(record, details["loc"][:-1])
        return f"unknown key; {nearest(details['loc'][-1], _keys(owner))}"
    if kind == "missing":
        return "is missing"
    if kind == "literal_error":
        expected = str(details.get("ctx", {}).get("expected", "")).replace(" or ", ", ")
        return f"{shown} is not one of {expected.replace(chr(39), '')}"
    if kind == "value_error":
        return str(details["ctx"]["error"])
    if kind in ("int_type", "int_parsing", "int_from_float"):
        return f"expected a whole number, got {shown}"
    if kind in ("float_type", "float_parsing"):
        return f"expected a number, got {shown}"
    if kind == "bool_type":
        return f"expected true or false, got {shown}"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"expected a mapping, got {shown}"
    if kind in ("too_short", "too_long"):
        least, most = (details["ctx"].get(f"{which}_length") for which in ("min", "max"))
        return f"expected {'at least' if most is None else 'at most'} {least if most is None else most} entries, " \
               f"got {details['ctx']['actual_length']}"
    if kind in ("string_type", "list_type", "tuple_type"):
        return f"expected {'text' if kind == 'string_type' else 'a list'}, got {shown}"
    message = details["msg"].replace("Input should", "should")
    return f"{message[0].lower()}{message[1:]}, got {shown}"


def _keys(record: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in record.model_fields.items()]


def _record_at(record: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The record class at a location inside `record`; indices of lists and keys of mappings are passed over."""
    for part in loc:
        fields = {field.alias or name: field for name, field in record.model_fields.items()}
        if str(part) in fields:
            record = next((a for a in _members(fields[str(part)].annotation)
                           if isinstance(a, type) and issubclass(a, BaseModel)), record)
    return record


def _members(annotation: Any) -> tuple[Any, ...]:
    """The plain types in an annotation: what unions, lists and mappings are made of."""
    inner = typing.get_args(annotation)
    if not inner or (isinstance(annotation, types.GenericAlias) and typing.get_origin(annotation) is tuple):
        return (annotation,)
    return tuple(member for part in inner for member in _members(part))


def _mapping(value: Any, file: str | None, key: str | None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"expected a mapping, got {str(value)[:40]!r}", file=file, key=key)
    return value


def _expand_section(section: str, value: Any, file: str | None, folder: Path | None, depth: int = 0) -> dict[str, Any]:
    if depth > MAX_BASES:
        raise InputError("'base' entries refer to each other in a circle", file=file, key=section)
    if isinstance(value, str):
        path = find_config(value, CATALOGUE[section], folder, file=file, key=section)
        return _load_entry(section, path, depth)
    value = _mapping(value, file, section)
    if "base" in value:
        path = find_config(value["base"], CATALOGUE[section], folder, file=file, key=f"{section}.base")
        return merge(_load_entry(section, path, depth), _local(section, {k: v for k, v in value.items() if k != "base"}, folder))
    if section == "model" and looks_like_config(value):
        try:
            return architecture_from_config(value, "model").to_plain()
        except InputError as error:
            raise error.within(file=file, prefix=section) from None
    return _local(section, value, folder)


def _load_entry(section: str, path: Path, depth: int) -> dict[str, Any]:
    beside = _quantization_file(path)
    changed_ns = (path.stat().st_mtime_ns, beside.stat().st_mtime_ns if beside else 0)
    return copy.deepcopy(_load_entry_cached(section, path.resolve(), changed_ns, depth))


@lru_cache(maxsize=256)
def _load_entry_cached(section: str, path: Path, _changed_ns: tuple[int, int], depth: int) -> dict[str, Any]:
    plain = _mapping(load_yaml(path), str(path), None)
    if section == "model" and looks_like_config(plain):
        try:
            name = path.parent.name if path.stem == "config" else path.stem
            beside = _quantization_file(path)
            said = _mapping(load_yaml(beside), str(beside), None) if beside else None
            return architecture_from_config(plain, name, said).to_plain()
        except InputError as error:
            raise error.within(file=str(path)) from None
    result = _expand_section(section, plain, str(path), path.parent, depth + 1)
    if section in ("model", "hardware", "workload"):
        result.setdefault("name", path.stem)
    if section == "engine":
        result["name"] = path.stem
    record = section_record(section)
    try:  # checked here, so that the error names the file that holds the mistake
        record.model_validate(result)
    except ValidationError as error:
        raise as_input_error(error, record, str(path)) from None
    return result


def _quantization_file(path: Path) -> Path | None:
    """The hf_quant_config.json beside a checkpoint's config.json, where there is one."""
    file = path.parent / "hf_quant_config.json"
    return file if path.name == "config.json" and file.is_file() else None


def _local(section: str, plain: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """Relative paths of traces and operator tables are relative to the file that names them."""
    key = {"workload": "trace", "hardware": "tables"}.get(section)
    path = plain.get(key) if key is not None else None
    if key is not None and isinstance(path, str) and folder is not None and (folder / path).exists():
        return {**plain, key: str((folder / path).resolve())}
    return plain
