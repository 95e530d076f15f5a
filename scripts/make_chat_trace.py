"""Writes the shipped synthetic trace: python scripts/make_chat_trace.py configs/workloads/chat-1k.csv"""

from __future__ import annotations

import sys
from pathlib import Path

from simulator.design.records.workload import Workload
from simulator.workload.load import load_trace

WORKLOAD = Workload.model_validate({
    "arrivals": {"process": "poisson", "rate": "8 requests/s"},
    "prompt": {"distribution": "lognormal", "mean": 600, "cv": 1.0, "low": 4, "high": 6000},
    "output": {"distribution": "lognormal", "mean": 220, "cv": 0.8, "low": 1, "high": 2000},
    "requests": 1000, "seed": 20261122,
})


def main() -> None:
    """Draws the trace and writes it as plain CSV."""
    trace = load_trace(WORKLOAD)
    rows = [f"{a / 1e9:.6f},{p},{o}" for a, p, o in zip(trace.arrival_ns, trace.prompt_tokens, trace.output_tokens, strict=True)]
    Path(sys.argv[1]).write_text("arrival_s,prompt_tokens,output_tokens\n" + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
