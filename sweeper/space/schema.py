"""The schema of a search-space YAML as records, which also yields its error messages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from simulator.design import units
from simulator.design.records.base import Count, PositiveInt, Record
from simulator.inputs.errors import InputError
from sweeper.space.sampler_names import check_name


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected a number or a quantity such as '1.5 TB/s', got {value!r:.60}")
    return value


def _duration(value: str) -> str:
    if _as_value_error(partial(units.parse, unit="s"), value) <= 0:
        raise ValueError(f"must be above 0, got {value!r}")
    return value


def _name_or_mapping(value: object) -> object:
    if not isinstance(value, str | dict):
        raise ValueError(f"expected a name, a path or a mapping, got {value!r:.60}")
    return value


def _texts(value: object) -> object:
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if entries is None or not all(isinstance(entry, str) for entry in entries):
        raise ValueError("expected a list, or a mapping of names, of expressions such as 'ttft_p99 <= 2 s', "
                         f"got {value!r:.60}")
    return value


def _sampler(value: str) -> str:
    return _as_value_error(check_name, value)


def _as_value_error(check: Callable[[str], Any], value: str) -> Any:
    """What `check` returns; its InputError as the ValueError that pydantic takes."""
    try:
        return check(value)
    except InputError as error:
        raise ValueError(error.message) from error


Number = Annotated[Any, BeforeValidator(_number)]  # bare, or text with a unit
NameOrMapping = Annotated[Any, BeforeValidator(_name_or_mapping)]
Texts = Annotated[Any, BeforeValidator(_texts)]
Sampler = Annotated[str, AfterValidator(_sampler)]


class IntRange(Record):
    """Whole numbers from low to high, both included."""

    low: int
    high: int
    step: int | None = None
    log: bool = False  # sampled evenly over the logarithm


class FloatRange(Record):
    """Numbers from low to high, both included; quantities are written with their unit."""

    low: Number
    high: Number
    step: Number = None
    log: bool = False


class ParameterSpec(Record):
    """One knob: exactly one of choices, ordinal, int, float.

    The mapping's key is the design key it sets, or a short name of your own with `sets: [design keys]`.
    `ordinal` is `choices` in a meaningful order (samplers then know that neighbours are alike).
    """

    choices: list[Any] | None = None
    ordinal: list[Any] | None = None
    int_range: IntRange | None = Field(default=None, alias="int")
    float_range: FloatRange | None = Field(default=None, alias="float")
    sets: Annotated[list[str], Field(min_length=1)] | None = None
    when: str | None = None  # the knob exists only where this condition over the design holds


class ObjectiveSpec(Record):
    """`minimize:` or `maximize:` an expression; `name` and `unit` say how it is shown."""

    minimize: str | None = None
    maximize: str | None = None
    name: str | None = None
    unit: str | None = None


class CapacitySpec(Record):
    """The search for the highest request rate at which a design meets `slo`, which metrics of it (`capacity`,
    `cost_per_million_tokens_at_slo`, ...) ask for. `slo`: limits of latency metrics, and `attainment` of the design's
    slo; without any, 99 % of the requests must meet the design's slo. `seeds`: absent, the workload's `replicates`, 3
    without these."""

    slo: dict[str, Number] = Field(default_factory=dict)
    seeds: PositiveInt | None = None
    tolerance: Number = 0.01


class StudySpec(Record):
    """How the space is searched; the command line overrides it."""

    sampler: Sampler = "auto"
    trials: PositiveInt = 200
    seed: Count = 0
    workers: PositiveInt | None = None  # absent: one per core
    ladder: Literal["auto", "on", "off"] = "auto"  # auto: where a simulation costs enough for it to pay
    timeout: Annotated[str, AfterValidator(_duration)] | None = None  # wall time of the sweep: `30 minute`
    trial_timeout: Annotated[str, AfterValidator(_duration)] = "5 minute"  # of one design, which then failed


class SpaceFile(Record):
    """A search space as written."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] | None = None
    description: str = ""
    design: NameOrMapping
    parameters: Annotated[dict[str, ParameterSpec], Field(min_length=1)]
    constraints: Texts = Field(default_factory=list)
    objectives: Annotated[list[ObjectiveSpec], Field(min_length=1, max_length=8)]
    baselines: dict[str, NameOrMapping] = Field(default_factory=dict)
    capacity: CapacitySpec | None = None
    study: StudySpec = StudySpec()
