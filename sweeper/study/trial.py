"""One evaluated design, as the ledger, the result tables and the report see it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from simulator.analysis.confidence import half_width
from simulator.inputs.errors import InputError

Status = Literal["complete", "infeasible", "failed", "pruned"]
STATUSES: tuple[Status, ...] = get_args(Status)
BOUND = "bound"  # the rung below the simulation


@dataclass(frozen=True)
class Trial:
    """What is known of one evaluated design.

    status: `complete`, every constraint holds and every objective is finite; `infeasible`, a constraint is violated
    (metrics and objectives are present only if a simulation was needed to find out); `failed`, no result (crash,
    time-out, an objective without a value); `pruned`, given up before the simulation (sweeper.run.proofs). `reason` says
    why in words unless the status is `complete`.
    Metrics are in the units of `simulator.results.metrics.METRICS`, objectives in their own `unit`, constraints are signed
    relative violations (<= 0 holds).

    With replicates (`workload.replicates`, docs/search.md) metrics are means over them, objectives and constraints follow
    from these, and the last four fields say how exact they are; without, these are empty.
    """

    number: int
    parameters: dict[str, Any]  # canonical: a parameter whose condition is false is absent
    status: Status
    metrics: dict[str, float] = field(default_factory=dict)
    objectives: dict[str, float] = field(default_factory=dict)
    constraints: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    design_key: str = ""  # simulator.design_key.design_key: equal keys have equal results
    seconds: float = 0.0  # wall time of the evaluation
    worker: str = ""
    attempt: int = 1
    baseline: str = ""  # name of the baseline that this trial is, "" for a proposed design
    cached: bool = False  # taken from an earlier trial with the same design key
    rung: str = ""  # `bound`: a proof ended it; "": it was simulated, or failed
    half_widths: dict[str, float] = field(default_factory=dict)  # of the metrics' 95 % intervals; absent ones do not vary
    samples: dict[str, list[float]] = field(default_factory=dict)  # by replicate: metrics that the space reads and that vary
    replicates: dict[str, list[float]] = field(default_factory=dict)  # objectives by replicate (`sweeper.study.replication`)
    unsure: list[str] = field(default_factory=list)  # constraints whose 95 % interval has the limit inside

    def half_width(self, objective: str) -> float:
        """Of the 95 % confidence interval of an objective; 0 where it does not vary, NaN without replicates."""
        values = self.replicates.get(objective)
        return half_width(values) if values else math.nan

    def to_json_line(self) -> str:
        """The trial as one line of strict JSON without the newline (non-finite numbers are written as text)."""
        plain = dict(vars(self))
        for name in _OF_REPLICATES:
            if not plain[name]:
                del plain[name]
        try:
            return _STRICT.encode(plain)
        except ValueError:
            for name in _NUMBERS:
                plain[name] = {k: v if math.isfinite(v) else str(v) for k, v in plain[name].items()}
            return _STRICT.encode(plain)


_STRICT = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_NUMBERS = ("metrics", "objectives", "constraints")
_OF_REPLICATES = ("half_widths", "samples", "replicates", "unsure")  # finite; left out of the line where empty


def from_json_line(line: str) -> Trial:
    """The trial in a line written by `to_json_line`. Raises InputError where the line is not one."""
    try:
        plain = json.loads(line)
        if not isinstance(plain, dict) or plain.get("status") not in STATUSES:
            raise ValueError("not a trial")
        for name in _NUMBERS:
            plain[name] = {key: float(value) for key, value in plain.get(name, {}).items()}
        return Trial(**plain)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"is not a trial's line: {error}") from error
