"""The `Design` record: one complete answer to "what do we build, and what does it serve?".

A design is written as YAML with seven sections; each may be a name from `configs/`, a path, a mapping, or a mapping
with `base:` (a name or path) and changes to it:

    model: llama-3.1-8b            # configs/models, or any Hugging Face config.json
    precision: {weights: fp8}
    hardware: {base: npu-pim, npu: {array: [256, 256]}}
    parallelism: {tensor: 4}
    serving: {max_num_seqs: 128}
    workload: chat-1k
    slo: {ttft: 2 s, tpot: 50 ms}
    costs: default
"""

from __future__ import annotations

from typing import Any

from simulator.design.records.base import Record
from simulator.design.records.hardware import Hardware
from simulator.design.records.model import Architecture, Precision
from simulator.design.records.money import Costs
from simulator.design.records.serving import Parallelism, Serving, Slo
from simulator.design.records.workload import Workload

# Sections that may be named: section -> folder of configs/.
CATALOGUE = {"model": "models", "hardware": "hardware", "serving": "serving", "workload": "workloads",
             "costs": "costs"}


class Design(Record):
    """One complete design point; frozen. `to_plain()` gives YAML data that `resolve` turns into an equal design.

    `precision` is complete: what a quantised checkpoint says of its own formats stands where the design says nothing.
    """

    model: Architecture
    precision: Precision = Precision()
    hardware: Hardware
    parallelism: Parallelism = Parallelism()
    serving: Serving = Serving()
    workload: Workload
    slo: Slo = Slo()
    costs: Costs

    def model_post_init(self, _context: Any) -> None:
        if self.model.checkpoint is not None:
            object.__setattr__(self, "precision", self.precision.over(self.model.checkpoint))
