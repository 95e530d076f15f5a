"""The cache of designs by section: a section is read and validated once for each way a space sets it.

Validation is what building a design costs (0.5 ms), and most designs of a sweep differ from earlier ones in a section
or two. A design's parts are frozen, so sharing them is safe; what reaches across sections, an engine's defaults, is worked
out for each design.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.design.design import Design
from simulator.design.engine_defaults.resolve import resolved
from simulator.design.load import apply_overrides, expand_section, validate_section
from simulator.design.records.base import Record
from simulator.design_key import engine_text, hash_sections, section_text
from simulator.inputs.errors import InputError

MAX_KEPT = 20_000  # variants of one section, some kB each

_Built = tuple[Record | None, str]  # a section and its part in the design's key


class DesignCache:
    """Builds designs from `base` (expanded plain data) and dotted overrides."""

    def __init__(self, base: dict[str, Any], file: str) -> None:
        self._base, self._file = base, file
        self._kept: dict[str, dict[str, _Built | InputError]] = {section: {} for section in Design.model_fields}

    def build(self, overrides: Mapping[str, Any]) -> tuple[Design, str]:
        """The design and its `design_key`. Raises InputError for what the schema refuses."""
        mine: dict[str, dict[str, Any]] = {}
        for key, value in overrides.items():
            mine.setdefault(key.split(".", 1)[0], {})[key] = value
        unknown = mine.keys() - self._kept.keys()
        if unknown:
            raise InputError("is not a section of a design", file=self._file, key=min(unknown))
        built = {section: self._section(section, mine.get(section, {})) for section in self._kept}
        records: dict[str, Any] = {section: record for section, (record, _) in built.items()}
        design = Design.model_construct(**records)
        try:
            design = resolved(design)
        except InputError as error:
            raise error.within(file=self._file) from None
        texts = {section: text for section, (record, text) in built.items() if record is not None}
        if design.precision is not records["precision"]:  # completed from the model's checkpoint
            texts["precision"] = section_text("precision", design.precision)
        if design.engine is not None:  # fills in serving by the rest of the design
            texts |= {"serving": section_text("serving", design.serving), "hardware": section_text("hardware", design.hardware),
                      **engine_text(design)}
        return design, hash_sections(texts)

    def _section(self, section: str, overrides: dict[str, Any]) -> _Built:
        kept = self._kept[section]
        said = repr(overrides) if overrides else ""
        found = kept.get(said)
        if found is None:
            if len(kept) >= MAX_KEPT:
                kept.clear()
            found = kept[said] = self._validated(section, overrides)
        if isinstance(found, InputError):
            raise found
        return found

    def _validated(self, section: str, overrides: dict[str, Any]) -> _Built | InputError:
        if section == "engine" and section not in self._base and not overrides:
            return None, ""
        base = {section: self._base[section]} if section in self._base else {}
        try:
            said = apply_overrides(base, overrides).get(section, {})
            plain = expand_section(section, said, file=self._file, folder=Path(self._file).parent)
            record = validate_section(section, plain, file=self._file)
        except InputError as error:
            return error
        return record, section_text(section, record)
