"""The journal of measured points: one JSON line each, so that a killed profiler goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.inputs.errors import InputError
from simulator.inputs.files import is_there, parse_json, read_bytes


@dataclass
class Journal:
    """`finished`: key of a point -> {seconds, mad_s, repeats}, or {skipped: reason}. Open with `open_journal`."""

    path: Path
    header: Mapping[str, str]
    finished: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, key: str, result: dict[str, Any]) -> None:
        """Keeps a result, on disk before it returns."""
        _append(self.path, {"key": key, **result})
        self.finished[key] = result


def open_journal(path: Path, header: Mapping[str, str]) -> Journal:
    """The journal at `path`, begun with `header` (what was measured with: model, device, software, settings) where absent.

    A torn last line, of a write that was cut, is dropped. Raises InputError where the file was started with another header.
    """
    lines = read_bytes(path).splitlines(keepends=True) if is_there(path) else []
    torn = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
    if not lines and not torn:
        _append(path, {"header": dict(header)})
        return Journal(path, dict(header))
    try:
        records = [parse_json(line) for line in lines]
        begun = dict(records[0]["header"])
        finished = {record.pop("key"): record for record in records[1:]}
    except (InputError, IndexError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError("is not the journal of a profile; name another folder with --out", file=str(path)) from error
    for name, value in header.items():
        if begun.get(name) != value:
            raise InputError(f"was started with {name} '{begun.get(name)}' but this run uses '{value}'; choose another "
                             "folder with --out", file=str(path), key=name)
    if torn:  # cut only here, where the file is known to be ours
        with path.open("r+b") as file:
            file.truncate(sum(map(len, lines)))
    return Journal(path, begun, finished)


def _append(path: Path, record: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(record, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())
