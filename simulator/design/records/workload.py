"""The workload record: a recorded trace or a synthetic one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from simulator.design.records.base import Count, NonNegative, Positive, PositiveInt, Record, RequestsPerSecond


class Arrivals(Record):
    """When requests arrive. gamma: `cv` is the coefficient of variation of the gaps (1 = Poisson);
    burst: groups of `burst_size` at once, at the same mean rate."""

    process: Literal["poisson", "gamma", "constant", "burst"] = "poisson"
    rate_per_s: RequestsPerSecond = Field(alias="rate")
    cv: Positive = 1.0
    burst_size: PositiveInt = 1


class Lengths(Record):
    """How many tokens. fixed: `mean`; uniform: `low`..`high` inclusive; lognormal: `mean` and `cv` (standard deviation
    over mean); empirical: drawn with replacement from `values`."""

    distribution: Literal["fixed", "uniform", "lognormal", "empirical"]
    mean: Positive | None = None
    cv: NonNegative | None = None
    low: PositiveInt | None = None
    high: PositiveInt | None = None
    values: Annotated[list[PositiveInt], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Lengths:
        needs = {"fixed": ("mean",), "uniform": ("low", "high"), "lognormal": ("mean", "cv"), "empirical": ("values",)}
        for key in needs[self.distribution]:
            if getattr(self, key) is None:
                raise ValueError(f"distribution '{self.distribution}' needs '{key}'")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self


def _several(value: object) -> object:
    return None if type(value) is int and value == 1 else value


Replicates = Annotated[Annotated[int, Field(ge=2, le=1000)] | None, BeforeValidator(_several)]


class Workload(Record):
    """Requests to serve: `trace` (a file: Azure CSV, JSONL or plain CSV) or `arrivals` + `prompt` + `output`.

    `requests` cuts a trace or sets how many synthetic ones are drawn; `rate` stretches a trace's time axis to a mean
    request rate; `concurrency` takes clients that wait for their answers in place of any
    arrival times; `max_prompt_tokens`/`max_output_tokens` clip lengths; `replicates`: how many times it is served, each
    time with another draw (seeds `seed`, `seed` + 1, ...; a recorded trace begins elsewhere), metrics are then means with a
    confidence interval.
    """

    name: str = "workload"
    source: str = ""
    trace: str | None = None
    arrivals: Arrivals | None = None
    prompt: Lengths | None = None
    output: Lengths | None = None
    requests: PositiveInt | None = None
    rate_per_s: RequestsPerSecond | None = Field(default=None, alias="rate")
    concurrency: PositiveInt | None = None  # closed loop: this many clients, each waiting for its answer before it asks again
    max_prompt_tokens: PositiveInt | None = None
    max_output_tokens: PositiveInt | None = None
    seed: Count = 0
    replicates: Replicates = None  # 1 means the same as none

    @model_validator(mode="after")
    def _open_or_closed(self) -> Workload:
        for key in ("arrivals", "rate_per_s"):
            if self.concurrency is not None and getattr(self, key) is not None:
                raise ValueError(f"give either 'concurrency' or '{key.removesuffix('_per_s')}': clients of a closed loop come "
                                 "when they are answered")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> Workload:
        synthetic = [k for k in ("arrivals", "prompt", "output") if getattr(self, k) is not None]
        if self.trace is not None and synthetic:
            raise ValueError(f"give either 'trace' or '{synthetic[0]}', not both")
        if self.trace is None:
            for key in ("arrivals", "prompt", "output", "requests"):
                if key == "arrivals" and self.concurrency is not None:
                    continue
                if getattr(self, key) is None:
                    raise ValueError(f"a synthetic workload needs '{key}' (or give 'trace: FILE')")
        return self
