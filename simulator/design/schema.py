"""The JSON schemas of the YAML files, for editors: keys, types and choices as the records define them.

A YAML may leave out what its `base:` says, so nothing is required here; what is missing is told when it is loaded.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from simulator.design.load import SCHEMA_ENGINES
from simulator.design.records.engine import EngineRecord
from simulator.design.records.hardware import Hardware
from simulator.design.records.model import Architecture, Precision
from simulator.design.records.money import Costs
from simulator.design.records.serving import Parallelism, Serving, Slo
from simulator.design.records.workload import Workload

DRAFT = "https://json-schema.org/draft/2020-12/schema"
NAMED: dict[str, type[BaseModel]] = {"model": Architecture, "hardware": Hardware, "engine": EngineRecord, "serving": Serving,
                                     "workload": Workload, "costs": Costs}
SECTIONS: dict[str, type[BaseModel]] = {**NAMED, "precision": Precision, "parallelism": Parallelism, "slo": Slo}

Schema = dict[str, Any]
_CONFIG: Schema = {"anyOf": [{"required": ["model_type"]}, {"required": ["architectures"]}]}  # what tells a config.json


def section_schema(section: str) -> Schema:
    """Of one section of a design, which is also the schema of the files in its folder of `configs/`."""
    part = section_part(section)
    if section == "model":  # a file of the catalogue may hold the keys of a config.json instead
        own = {key: part.pop(key) for key in ("properties", "additionalProperties")}
        part |= {"properties": dict.fromkeys(own["properties"], True), "if": _CONFIG, "else": own}
    return _document(part, {})


def design_schema() -> Schema:
    """Of a complete design, `configs/designs/*.yaml`."""
    definitions: Schema = {}
    return _document(design_part(definitions), definitions)


def design_part(definitions: Schema) -> Schema:
    """A design as a mapping; definitions it refers to are added to `definitions`."""
    sections = {name: hoisted(section_part(name), definitions) for name in SECTIONS}
    for name in NAMED:
        options: list[Schema] = [{"type": "string", "description": "a name from configs/, or a path"}, sections[name]]
        if name == "model":
            options.append({"type": "object", **_CONFIG, "description": "a Hugging Face config.json"})
        sections[name] = {"anyOf": options}
    base = {"type": "string", "description": "a design to start from"}
    version = {"enum": list(SCHEMA_ENGINES), "description": "which engine a design without `engine` takes: 2, vllm-0.32; 1, none"}
    return {"type": "object", "properties": {"base": base, "schema": version, **sections}, "additionalProperties": False}


def section_part(section: str) -> Schema:
    """The record's schema, nothing required, with `base` where the section can start from a named one."""
    schema = partial(SECTIONS[section].model_json_schema(by_alias=True))
    if section in NAMED:
        schema["properties"] = {"base": {"type": "string", "description": f"a {section} to start from"},
                                **schema["properties"]}
    return schema


def partial(node: Any) -> Any:
    """A schema without `required`, and with quantities as text of a number and a unit."""
    if isinstance(node, list):
        return [partial(item) for item in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("unit"), str):
        unit = node["unit"]
        kept = {key: node[key] for key in ("title", "default") if key in node}
        return {**kept, "type": "string", "pattern": r"^\s*[+-]?(\d|\.\d)", "description": f"a quantity, e.g. '1 {unit}'"}
    return {key: partial(value) for key, value in node.items() if key != "required"}


def hoisted(schema: Schema, definitions: Schema) -> Schema:
    """`schema` with its `$defs` moved into `definitions`, where references find them from the document's root."""
    definitions.update(schema.pop("$defs", {}))
    return schema


def _document(schema: Schema, definitions: Schema) -> Schema:
    return {"$schema": DRAFT, **schema, **({"$defs": definitions} if definitions else {})}
