"""Strict YAML: plain data only, duplicate keys refused, bounded size, depth and aliases, YAML 1.2 scalars."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from simulator.inputs.errors import InputError
from simulator.inputs.files import read_text

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 40
MAX_NODES = 200_000  # nodes after aliases are expanded: what a "billion laughs" file blows up to


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2 booleans and floats ('on' is a word, 1e9 is a number) and no dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers
            if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp",
                           "tag:yaml.org,2002:int", "tag:yaml.org,2002:merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?\d+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^(?:[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
    list("-+0123456789."),
)


def load_yaml(path: Path) -> Any:
    """The plain data (dict, list, str, int, float, bool, None) in a YAML or JSON file.

    Raises InputError naming the file, and the line where there is one.
    """
    text = read_text(path, most=MAX_BYTES)
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Any:
    """As load_yaml, for text that is already read; `name` stands in error messages."""
    try:
        loader = _Loader(text)
        try:
            _check_depth(text)
            node = loader.get_single_node()
            if node is None:
                raise InputError("is empty", file=name)
            return _plain(node, loader, name, "", 0, [0])
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise InputError(f"{line}not valid YAML: {error.problem or error.context}", file=name) from error
    except yaml.YAMLError as error:
        raise InputError(f"not valid YAML: {error}", file=name) from error
    except RecursionError as error:
        raise InputError(f"is nested deeper than {MAX_DEPTH} levels", file=name) from error


def _check_depth(text: str) -> None:
    """Refuses flow nesting before the recursive composer sees it; block nesting costs columns and is bounded too."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise RecursionError
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _plain(node: yaml.Node, loader: _Loader, name: str, key: str, depth: int, count: list[int]) -> Any:
    count[0] += 1
    if depth > MAX_DEPTH:
        raise InputError(f"is nested deeper than {MAX_DEPTH} levels", file=name)
    if count[0] > MAX_NODES:
        raise InputError("expands to too many values (aliases repeated too often?)", file=name)
    line = node.start_mark.line + 1
    if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.rsplit(":", 1)[1] not in (
            "map", "seq", "str", "int", "float", "bool", "null"):
        raise InputError(f"line {line}: tag '{node.tag}' is not allowed, only plain data is", file=name, key=key or None)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise InputError(f"line {line}: keys must be plain words", file=name, key=key or None)
            child = key_node.value
            path = f"{key}.{child}" if key else child
            if child in result:
                raise InputError(f"line {key_node.start_mark.line + 1}: the key is given twice", file=name, key=path)
            result[child] = _plain(value_node, loader, name, path, depth + 1, count)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, loader, name, f"{key}[{i}]", depth + 1, count) for i, item in enumerate(node.value)]
    try:
        if node.tag == "tag:yaml.org,2002:int":
            return int(node.value)  # YAML 1.1 would read 010 as octal
        value: Hashable = loader.construct_object(node)
    except ValueError as error:
        raise InputError(f"line {line}: {error}", file=name, key=key or None) from error
    return value
