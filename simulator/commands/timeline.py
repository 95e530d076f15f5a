"""`python -m simulator timeline` writes a design's engine steps as a trace that Perfetto opens."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from simulator.design.load import load_design, parse_override
from simulator.inputs.errors import InputError
from simulator.prepare import prepare
from simulator.pricing.cache import CostCache
from simulator.result import Infeasible
from simulator.results.timeline import events
from simulator.simulate import serve
from simulator.workload.load import load_trace


def timeline_command(source: str, overrides: list[str], output: str, *, steps: int, requests: int) -> int:
    """Writes the trace. Raises InputError for bad input, a design that cannot serve, or a file that cannot be written."""
    for name, value in (("--steps", steps), ("--requests", requests)):
        if value < 0:
            raise InputError(f"must be at least 0, got {value}", key=name)
    design = load_design(source, dict(parse_override(text) for text in overrides))
    try:
        priced = prepare(design, CostCache())
        result = serve(design, priced, load_trace(design.workload), log=True)
    except Infeasible as infeasible:
        first = infeasible.violations[0]
        raise InputError(f"the design cannot serve: {first.message}", file=source, key=first.name) from None
    listed = list(events(design, priced, result.replicas, steps, requests))
    text = json.dumps({"traceEvents": listed, "displayTimeUnit": "ms"}, separators=(",", ":"))
    try:
        data = text.encode()
        Path(output).write_bytes(gzip.compress(data, mtime=0) if output.endswith(".gz") else data)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=output) from None
    all_steps = sum(replica.run.steps for replica in result.replicas)
    drawn = sum(min(steps, replica.run.steps) for replica in result.replicas)
    print(f"written to {output}: {len(listed):,} events, {drawn:,} of {all_steps:,} steps; open it at https://ui.perfetto.dev")
    return 0
