"""The `Design` record: one complete answer to "what do we build, and what does it serve?".

A design is written as YAML with sections; each may be a name from `configs/`, a path, a mapping, or a mapping
with `base:` (a name or path) and changes to it:

    model: llama-3.1-8b            # configs/models, or any Hugging Face config.json
    precision: {weights: fp8}
    hardware: {base: npu-pim, npu: {array: [256, 256]}}
    parallelism: {tensor: 4}
    engine: vllm-0.32             # configs/engines: what `serving` leaves open, and the host's time
    serving: {max_num_seqs: 128}
    workload: chat-1k
    slo: {ttft: 2 s, tpot: 50 ms}
    costs: default
"""

from __future__ import annotations

from typing import Any

from simulator.design.records.base import Record
from simulator.design.records.engine import EngineRecord
from simulator.design.records.hardware import Hardware
from simulator.design.records.model import Architecture, Precision
from simulator.design.records.money import Costs
from simulator.design.records.serving import Parallelism, Serving, Slo
from simulator.design.records.workload import Workload

# Sections that may be named: section -> folder of configs/.
CATALOGUE = {"model": "models", "hardware": "hardware", "engine": "engines", "serving": "serving", "workload": "workloads",
             "costs": "costs"}


class Design(Record):
    """One complete design point; frozen. `to_plain()` gives YAML data that `resolve` turns into an equal design.

    `precision` is complete: what a quantised checkpoint says of its own formats stands where the design says nothing.
    engine: whose defaults fill what `serving` leaves open, and whose host times count; None (schema 1): the defaults of
    `Serving`, and the host times of the hardware file.
    """

    model: Architecture
    precision: Precision = Precision()
    hardware: Hardware
    engine: EngineRecord | None = None
    parallelism: Parallelism = Parallelism()
    serving: Serving = Serving()
    workload: Workload
    slo: Slo = Slo()
    costs: Costs

    def model_post_init(self, _context: Any) -> None:
        if self.model.checkpoint is not None:
            object.__setattr__(self, "precision", self.precision.over(self.model.checkpoint))

    def to_plain(self) -> dict[str, Any]:
        """As every record; what the engine filled in is left out, since it depends on the rest of the design."""
        return super().to_plain() if self.engine is None else self.open_plain()

    def open_plain(self) -> dict[str, Any]:
        """Plain data in which all that an engine may fill in is left open unless it was said."""
        plain = super().to_plain()
        plain["serving"] = self.serving.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
        gpu = self.hardware.gpu
        if gpu is not None and "kernels" not in gpu.model_fields_set:
            plain["hardware"]["gpu"].pop("kernels")
        return plain
