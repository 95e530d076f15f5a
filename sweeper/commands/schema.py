"""`python -m sweeper schema` prints the JSON schema of one kind of YAML file, for completion and checks in an editor."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from simulator.design import schema as json_schema
from sweeper.space.schema import SpaceFile

KINDS = ("space", "design", "model", "hardware", "serving", "workload", "costs")


def schema(args: Namespace) -> int:
    """Prints the schema."""
    print(json.dumps(schema_of(args.kind), indent=1))
    return 0


def schema_of(kind: str) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a kind of file."""
    if kind == "space":
        return space_schema()
    return json_schema.design_schema() if kind == "design" else json_schema.section_schema(kind)


def space_schema() -> dict[str, Any]:
    """Of a search space: the file's own keys, with the design's schema inside and its dotted keys as completions."""
    definitions: dict[str, Any] = {}
    said = SpaceFile.model_json_schema(by_alias=True)
    required = said["required"]
    space = json_schema.hoisted(json_schema.partial(said), definitions)
    definitions["Design"] = json_schema.design_part(definitions)
    reference = {"$ref": "#/$defs/Design"}
    keys = sorted(_keys(definitions["Design"], definitions))
    space["properties"]["design"] = {"anyOf": [{"type": "string", "description": "a name from configs/designs"}, reference]}
    space["properties"]["parameters"]["properties"] = {key: {"$ref": "#/$defs/ParameterSpec"} for key in keys}
    sets = definitions["ParameterSpec"]["properties"]["sets"]
    sets.clear()
    sets.update({"type": "array", "items": {"anyOf": [{"enum": keys}, {"type": "string"}]}, "description": "design keys"})
    return {"$schema": json_schema.DRAFT, **space, "required": required, "$defs": definitions}


def _keys(node: dict[str, Any], definitions: dict[str, Any], prefix: str = "", depth: int = 0) -> set[str]:
    """Dotted keys below a schema: {'parallelism.tensor', ...}."""
    found: set[str] = set()
    for option in (node, *node.get("anyOf", ())):
        if "$ref" in option:
            option = definitions[option["$ref"].rsplit("/", 1)[1]]
        for name, child in option.get("properties", {}).items():
            if name in ("base", "name", "source") or depth > 4:
                continue
            key = f"{prefix}.{name}" if prefix else name
            found.add(key)
            found |= _keys(child, definitions, key, depth + 1)
    return found
