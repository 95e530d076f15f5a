"""The records of a design: units in names, defaults that a YAML could say, and errors that name file, key and fix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from simulator.design.design import Design
from simulator.design.load import load_design, resolve
from simulator.design.records import compute, engine, hardware, memory, model, money, serving, silicon, workload
from simulator.design.records.base import Record
from simulator.inputs.errors import InputError

RECORDS = sorted({record for module in (compute, engine, hardware, memory, model, money, serving, silicon, workload)
                  for record in vars(module).values()
                  if isinstance(record, type) and issubclass(record, Record) and record is not Record}, key=lambda r: r.__name__)
# unit that a YAML writes -> how names of its fields end
ENDINGS = {"s": "_s", "Hz": "_hz", "B": "_bytes", "B/s": "_bytes_per_s", "requests/s": "_per_s", "W": "_w", "USD": "_usd",
           "USD/h": "_usd_per_hour", "USD/kWh": "_usd_per_kwh", "year": "_years"}
UNNAMED = {"FLOP/s", "USD/GB"}  # peak_bf16 and the like; prices by kind of memory
BASE = {"model": "llama-3.1-8b", "hardware": "npu-pim", "workload": "chat-200"}


def quantities() -> Iterator[tuple[type[Record], str, FieldInfo, str]]:
    for record in RECORDS:
        for name, field in record.model_fields.items():
            for part in (field, *(p for p in getattr(field.annotation, "__args__", ()) for p in getattr(p, "__metadata__", ()))):
                extra = getattr(part, "json_schema_extra", None)
                if isinstance(extra, dict) and "unit" in extra:
                    yield record, name, field, str(extra["unit"])


def test_there_are_records_and_quantities() -> None:
    assert len(RECORDS) >= 20
    assert len(list(quantities())) >= 50


def test_names_of_quantities_end_in_their_unit() -> None:
    odd = [f"{record.__name__}.{name} [{unit}]" for record, name, _, unit in quantities()
           if unit not in UNNAMED and not name.endswith(ENDINGS[unit])]
    assert not odd


def test_a_quantity_is_written_without_the_unit_in_its_key() -> None:
    """`clock: 1.4 GHz`, not `clock_hz`: keys that a user writes carry no unit, values do."""
    odd = [f"{record.__name__}.{name}" for record, name, field, unit in quantities()
           if unit not in UNNAMED and (field.alias is None or field.alias.endswith(ENDINGS[unit]))]
    assert not odd


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_records_are_frozen_documented_and_refuse_unknown_keys(record: type[Record]) -> None:
    assert record.__doc__ and record.model_config["frozen"] and record.model_config["extra"] == "forbid"
    with pytest.raises(ValidationError) as caught:
        record.model_validate({"no_such_key": 1})
    assert "extra_forbidden" in {error["type"] for error in caught.value.errors()}


@pytest.mark.parametrize("record", [r for r in RECORDS if not any(f.is_required() for f in r.model_fields.values())],
                         ids=lambda r: r.__name__)
def test_defaults_read_back_from_what_a_yaml_would_say(record: type[Record]) -> None:
    made = record() if record is not workload.Workload else None
    if made is not None:
        assert record.model_validate(made.to_plain()) == made
        assert hash(record.model_validate(made.to_plain())) == hash(made)


@pytest.mark.parametrize("design", ["npu-pim-chat", "h100-chat"])
def test_every_section_reads_back_to_an_equal_one(design: str) -> None:
    made = load_design(design)
    for section in Design.model_fields:
        record: Record | None = getattr(made, section)
        assert record is None or type(record).model_validate(record.to_plain()) == record


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"hardware": {"base": "npu-pim", "npu": {"clock": 1.4e9}}}, "hardware.npu.clock", "needs a unit"),
    ({"hardware": {"base": "npu-pim", "npu": {"clock": "1.4 GB"}}}, "hardware.npu.clock", "wrong unit"),
    ({"hardware": {"base": "npu-pim", "npu": {"clokc": "1.4 GHz"}}}, "hardware.npu.clokc", "did you mean 'clock'"),
    ({"hardware": {"base": "npu-pim", "npu": {"dataflow": "systolic"}}}, "hardware.npu.dataflow", "is not one of"),
    ({"hardware": {"base": "npu-pim", "npu": {"arrays": 1.5}}}, "hardware.npu.arrays", "whole number"),
    ({"serving": {"max_num_seq": 8}}, "serving.max_num_seq", "did you mean 'max_num_seqs'"),
    ({"serving": {"watermark": 2}}, "serving.watermark", "1"),
    ({"parallelism": {"tensor": 0}}, "parallelism.tensor", "greater than 0"),
    ({"slo": {"ttft": "2 GB"}}, "slo.ttft", "wrong unit"),
    ({"precision": {"weights": "fp3"}}, "precision.weights", "is not one of"),
    ({"workload": {"base": "chat-200", "rate": "8 tokens/s"}}, "workload.rate", "wrong unit"),
    ({"model": {"base": "llama-3.1-8b", "kv_heads": 5}}, "model", "multiple of kv_heads"),
    ({"costs": {"base": "default", "lifetime": "4 GB"}}, "costs.lifetime", "wrong unit"),
]


@pytest.mark.parametrize(("changes", "key", "fix"), WRONG, ids=[key for _, key, _ in WRONG])
def test_errors_name_file_key_and_fix(changes: dict[str, Any], key: str, fix: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        resolve({**BASE, **changes}, file="my_design.yaml", folder=tmp_path)
    error = caught.value
    assert (error.file, error.key) == ("my_design.yaml", key)
    assert fix in error.message
    assert "\n" not in str(error) and str(error).startswith(f"my_design.yaml: {key}: ")
