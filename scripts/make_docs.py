"""Writes the generated parts of docs: search-space.md from the schema, metrics.md from the registry of metrics, and
architecture.md from the docstrings of all modules.

    python scripts/make_docs.py [--check]

A generated part stands between `<!-- generated: NAME -->` and `<!-- end of generated -->`; the text around it is written by
hand. `--check` changes nothing and exits with 1 where a part is stale.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts import make_architecture
from simulator.design.schema import NAMED, SECTIONS
from simulator.results.metrics import CAPACITY_METRICS, METRICS, Metric
from sweeper.space.schema import SpaceFile

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = ("architecture.md", "metrics.md", "search-space.md")
PART = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end of generated -->)", re.DOTALL)


def main() -> int:
    """Rewrites the pages; with --check says which are stale."""
    stale = []
    for path in (DOCS / page for page in PAGES):
        old = path.read_text(encoding="utf-8")
        new = rendered(old)
        if new != old:
            stale.append(path.name)
            if "--check" not in sys.argv[1:]:
                path.write_text(new, encoding="utf-8")
    print(f"stale: {', '.join(stale)}" if stale else "all parts are as the code has them")
    return 1 if stale and "--check" in sys.argv[1:] else 0


def rendered(text: str) -> str:
    """`text` with its generated parts regenerated."""
    return PART.sub(lambda m: f"{m[1]}\n{PARTS[m[2]]()}\n{m[3]}", text)


def space_keys() -> str:
    """Tables of what a search-space file may say."""
    schema = SpaceFile.model_json_schema(by_alias=True)
    parts = [("the file", schema)]
    parts += [(title, schema["$defs"][name]) for title, name in (
        ("a parameter", "ParameterSpec"), ("a range of whole numbers (`int`)", "IntRange"),
        ("a range of numbers (`float`)", "FloatRange"), ("an objective", "ObjectiveSpec"), ("`study`", "StudySpec"),
        ("`study.ladder`", "LadderSpec"), ("`capacity`", "CapacitySpec")) if name in schema["$defs"]]
    return "\n".join(f"### Keys of {title}\n\n{_doc(part)}{_table(part, schema['$defs'])}" for title, part in parts)


def design_keys() -> str:
    """Tables of every dotted key that a parameter can set, by section."""
    return "\n".join(f"### `{name}`{' (or a name from `configs/`)' if name in NAMED else ''}\n\n{_section(name, record)}"
                     for name, record in SECTIONS.items())


def metrics(which: dict[str, Metric]) -> str:
    """A table of metrics; latencies are one row for mean and percentiles."""
    rows, seen = [], set()
    for metric in which.values():
        match = re.fullmatch(r"(\w+?)_(mean|p\d+)", metric.name)
        latency = match is not None and f"{match[1]}_p99" in which
        name = match[1] if match and latency else metric.name
        if name in seen:
            continue
        seen.add(name)
        doc = metric.doc.partition(";")[0] if latency else metric.doc
        shown = f"`{name}_mean`, `{name}_p50`, `_p90`, `_p95`, `_p99`" if latency else f"`{name}`"
        rows.append(f"| {shown} | {metric.unit or '-'} | {doc} |")
    return "\n".join(["| metric | unit | meaning |", "| --- | --- | --- |", *rows]) + "\n"


def _section(name: str, record: type[BaseModel]) -> str:
    schema = record.model_json_schema(by_alias=True)
    rows = "\n".join(_rows(schema, schema.get("$defs", {}), f"{name}.", 0))
    return f"{_doc(schema)}| key | value | default |\n| --- | --- | --- |\n{rows}\n"


def _doc(schema: dict[str, Any]) -> str:
    text = " ".join(schema.get("description", "").split())
    return f"{text}\n\n" if text else ""


def _table(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    return "| key | value | default |\n| --- | --- | --- |\n" + "\n".join(_rows(schema, definitions, "", 9)) + "\n"


def _rows(schema: dict[str, Any], definitions: dict[str, Any], prefix: str, depth: int) -> Iterator[str]:
    for key, field in schema.get("properties", {}).items():
        inner = _record(field, definitions)
        if inner is not None and depth < 3:
            yield from _rows(inner, definitions, f"{prefix}{key}.", depth + 1)
            continue
        default = "required" if key in schema.get("required", ()) else _default(field.get("default"))
        yield f"| `{prefix}{key}` | {_value(field, definitions)} | {default} |"


def _record(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    for option in (field, *field.get("anyOf", ())):
        if "$ref" in option and "properties" in definitions[option["$ref"].rsplit("/", 1)[1]]:
            found: dict[str, Any] = definitions[option["$ref"].rsplit("/", 1)[1]]
            return found
    return None


def _value(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_value(o, definitions) for o in field["anyOf"] if o.get("type") != "null"))
    if "$ref" in field:
        return _value(definitions[field["$ref"].rsplit("/", 1)[1]], definitions)
    if "unit" in field:
        return f"quantity in {field['unit']}"
    if "enum" in field or "const" in field:
        return ", ".join(f"`{v}`" for v in field.get("enum", [field.get("const")]))
    kind = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`", "array": "list",
            "object": "mapping"}.get(field.get("type", ""), "any value")
    bounds = [f"{sign} {field[name]:,}" for name, sign in (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="),
                                                           ("exclusiveMaximum", "<")) if name in field and field[name] != 2**40]
    return f"{kind} {', '.join(bounds)}".strip()


def _default(value: object) -> str:
    if value is None:
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != "" else "-"


PARTS: dict[str, Callable[[], str]] = {
    "space keys": space_keys,
    "design keys": design_keys,
    "metrics": lambda: metrics(METRICS),
    "capacity metrics": lambda: metrics(CAPACITY_METRICS),
    "rooms": make_architecture.rooms,
}

if __name__ == "__main__":
    sys.exit(main())
