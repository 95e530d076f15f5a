"""What a search-space YAML may say, as records: its schema, and the source of its error messages."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from simulator.schema.base import Count, PositiveInt, Record

Sampler = Literal["auto", "exhaustive", "tpe", "nsga2", "random", "qmc"]


class IntRange(Record):
    """Whole numbers from low to high, both included."""

    low: int
    high: int
    step: int | None = None
    log: bool = False  # sampled evenly over the logarithm


class FloatRange(Record):
    """Numbers from low to high, both included; quantities are written with their unit."""

    low: float | int | str
    high: float | int | str
    step: float | int | str | None = None
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


class StudySpec(Record):
    """How the space is searched; the command line overrides it."""

    sampler: Sampler = "auto"
    trials: PositiveInt = 200
    seed: Count = 0
    workers: PositiveInt | None = None  # absent: one per core
    timeout: str | None = None  # wall time of the whole sweep, for example `30 minute`


class SpaceFile(Record):
    """A search space as written."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] | None = None
    description: str = ""
    design: str | dict[str, Any]
    parameters: Annotated[dict[str, ParameterSpec], Field(min_length=1)]
    constraints: list[str] | dict[str, str] = Field(default_factory=list)
    objectives: Annotated[list[ObjectiveSpec], Field(min_length=1, max_length=8)]
    baselines: dict[str, str | dict[str, Any]] = Field(default_factory=dict)
    study: StudySpec = StudySpec()
