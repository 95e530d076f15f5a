"""One evaluated design, as the ledger, the result tables and the report see it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from simulator.analysis.confidence import half_width
from simulator.inputs.errors import InputError
from simulator.inputs.files import parse_json
from simulator.inputs.narrowing import whole

Status = Literal["complete", "infeasible", "failed", "pruned"]
STATUSES: tuple[Status, ...] = get_args(Status)
MOST_VALUE = 1e30  # of an objective: beyond it hypervolumes of eight overflow, and nothing real is
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
    """The trial in a line written by `to_json_line`, whose every field has the type it should: a line may be a stranger's.

    Raises InputError where the line is not one. Whether it fits a space is for `check_trial` to say.
    """
    try:
        plain = parse_json(line)
    except InputError as error:
        raise InputError(f"is not a trial's line: {error}") from error
    if not isinstance(plain, dict):
        raise InputError("is not a trial's line: expected an object")
    try:
        for name in _REQUIRED:
            if name not in plain:
                raise ValueError(f"has no '{name}'")
        return Trial(**{name: _READ[name](value) for name, value in plain.items()})
    except KeyError as error:
        raise InputError(f"is not a trial's line: unknown field {error}") from error
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"is not a trial's line: {error}") from error


def check_trial(trial: Trial, objectives: Collection[str]) -> None:
    """Raises InputError where a trial cannot be of a study with these objectives: a complete one has them all, in range."""
    if unknown := trial.objectives.keys() - objectives:
        raise InputError(f"trial {trial.number} has an objective '{min(unknown)}' that the space does not")
    if trial.status == "complete":
        for name in objectives:
            value = trial.objectives.get(name, math.nan)
            if not abs(value) <= MOST_VALUE:
                raise InputError(f"trial {trial.number} is complete, but its objective '{name}' is {value}")
    for name, values in trial.replicates.items():
        if name not in trial.objectives or len(values) < 2:
            raise InputError(f"trial {trial.number} has replicates of '{name}' that do not fit it")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {str(value)[:40]!r}")
    return value


def _status(value: Any) -> Any:
    if value not in STATUSES:
        raise ValueError(f"{str(value)[:40]!r} is not a status")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {str(value)[:40]!r}")
    return value


def _number(value: Any) -> float:
    """A number, or the text of one that JSON has not (see `to_json_line`)."""
    if isinstance(value, bool) or not (isinstance(value, int | float) or value in ("inf", "-inf", "nan")):
        raise ValueError(f"expected a number, got {str(value)[:40]!r}")
    return float(value)


def _finite(value: Any) -> float:
    if not math.isfinite(number := _number(value)) or number < 0:
        raise ValueError(f"expected a number of at least 0, got {str(value)[:40]!r}")
    return number


def _whole(value: Any) -> int:
    return whole(value, "a count", least=0, most=2**53) if isinstance(value, int) else whole(None, "a count", least=0, most=2**53)


def _mapping(value: Any, read: Callable[[Any], Any]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {str(value)[:40]!r}")
    return {key: read(item) for key, item in value.items()}


def _list(value: Any, read: Callable[[Any], Any]) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, got {str(value)[:40]!r}")
    return [read(item) for item in value]


def _any(value: Any) -> Any:
    """A value of a parameter: the space judges it when it makes a design of it."""
    return value


_REQUIRED = ("number", "parameters", "status")
_READ: dict[str, Callable[[Any], Any]] = {
    "number": _whole, "status": _status, "attempt": _whole, "cached": _flag, "seconds": _finite,
    "parameters": lambda value: _mapping(value, _any),
    **dict.fromkeys(("reason", "design_key", "worker", "baseline", "rung"), _text),
    **dict.fromkeys(_NUMBERS, lambda value: _mapping(value, _number)),
    "half_widths": lambda value: _mapping(value, _finite),
    **dict.fromkeys(("samples", "replicates"), lambda value: _mapping(value, lambda item: _list(item, _number))),
    "unsure": lambda value: _list(value, _text),
}
