"""The content hash of a design: it covers everything that can change the result."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from simulator.design.design import Design
from simulator.design.engine_defaults.situation import capability
from simulator.design.records.base import Record
from simulator.design.records.hardware import Hardware
from simulator.design.records.serving import Serving
from simulator.devices.kernel_constants import kernels
from simulator.devices.measured.parquet import content_hash


def design_key(design: Design) -> str:
    """Content hash of everything that can change the result: labels and knobs without effect are left out."""
    texts = {section: section_text(section, record) for section in Design.model_fields
             if (record := getattr(design, section)) is not None}
    return hash_sections(texts | engine_text(design))


def engine_text(design: Design) -> dict[str, str]:
    """The engine's part in the design's key, with the device's class that its rules ask for; none without an engine."""
    if design.engine is None:
        return {}
    plain = {key: value for key, value in design.engine.to_plain().items() if key not in ("name", "source", "as_of")}
    return {"engine": json.dumps([capability(design.hardware.name), plain], sort_keys=True, separators=(",", ":"))}


def section_text(section: str, record: Record) -> str:
    """A section's part in the design's key: canonical JSON without what cannot change the result."""
    plain = record.to_plain()
    if section in ("model", "hardware", "workload"):
        plain.pop("name", None)
        plain.pop("source", None)
    if isinstance(record, Serving) and record.preemption != "swap":
        plain.pop("swap_to")
    if isinstance(record, Hardware):
        _drop_idle_hardware(record, plain)
        if record.tables is not None:  # what is in the file counts, not where it lies
            plain["tables"] = content_hash(Path(record.tables))
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def hash_sections(texts: dict[str, str]) -> str:
    """The design's key from the `section_text` of each of its sections."""
    text = ",".join(f'"{section}":{texts[section]}' for section in sorted(texts))
    return hashlib.sha256(f"{{{text}}}".encode()).hexdigest()[:24]


def _drop_idle_hardware(hardware: Hardware, plain: dict[str, Any]) -> None:
    """Takes out of a hardware's plain data what changes nothing, given the rest of it."""
    pim = hardware.pim
    if pim.placement == "none":
        plain.pop("pim")
        plain.pop("decode_attention")
    else:
        idle = {"local": {"link_bandwidth", "link_latency"}, "pooled": set(),
                "shared": {"link_bandwidth", "link_latency", "kind", "stacks_per_npu"}}[pim.placement]
        if pim.placement != "shared" and pim.commands != "newton":
            idle |= {"row_buffer"}
        if pim.commands == "newton" or pim.unit == "buffer" or pim.stack_power_w is not None:
            idle |= {"power_limited"}
        if hardware.pim_and_npu_in_turn:
            idle |= {"sub_batches"}
        if not hardware.attention_on_pim:
            idle |= {"unit", "commands", "row_buffer", "power_limited", "stack_power", "mapping", "sub_batches"}
        plain["pim"] = {key: value for key, value in plain["pim"].items() if key not in idle}
        plain["decode_attention"] = hardware.attention_on_pim
    if hardware.gpu is not None:
        plain["gpu"]["operators"] = kernels(hardware.gpu.operators, hardware.gpu.kernels).digest  # what is in the file counts
        for name in {"sglang", "trtllm"} - {hardware.gpu.kernels}:
            plain["gpu"].pop(name, None)
        if hardware.gpu.kernels != "vllm":
            plain["gpu"].pop("attention")
            plain["gpu"].pop("quantise")
