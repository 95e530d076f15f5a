"""The base class of all records: frozen and strict, unknown keys refused, quantities written with a unit.

A field `clock_hz: Hertz` with alias `clock` is written `clock: 1.4 GHz` in YAML and read as a float in Hz.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from simulator.design import units
from simulator.inputs.errors import InputError


class Record(BaseModel):
    """A frozen piece of a design. `to_plain()` gives what its YAML would say."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_by_name=True, validate_by_alias=True,
                              allow_inf_nan=False)

    def to_plain(self) -> dict[str, Any]:
        """Plain data under the YAML's own keys, quantities as text with units; loading it gives an equal record."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _read(value: object, unit: str) -> float:
    try:
        return units.parse(value, unit)
    except InputError as error:
        raise ValueError(error.message) from error


def quantity(unit: str, **bounds: float) -> Any:
    """Annotated float that is written with `unit` in YAML and held in that (base) unit. `bounds` as pydantic's Field."""
    return Annotated[
        float,
        BeforeValidator(partial(_read, unit=unit), json_schema_input_type=str),
        PlainSerializer(partial(units.show, unit=unit), return_type=str, when_used="json"),
        Field(json_schema_extra={"unit": unit}, **bounds),  # type: ignore[call-overload]
    ]


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Sequence = BeforeValidator(_as_tuple)

PositiveInt = Annotated[int, Field(gt=0, le=2**40)]
Count = Annotated[int, Field(ge=0, le=2**40)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]

Seconds = quantity("s", ge=0)
PositiveSeconds = quantity("s", gt=0)
Hertz = quantity("Hz", gt=0)
Bytes = quantity("B", gt=0)
BytesPerSecond = quantity("B/s", gt=0)
FlopsPerSecond = quantity("FLOP/s", gt=0)
RequestsPerSecond = quantity("requests/s", gt=0)
Watts = quantity("W", ge=0)
Dollars = quantity("USD", ge=0)
DollarsPerHour = quantity("USD/h", ge=0)
DollarsPerGigabyte = quantity("USD/GB", ge=0)
DollarsPerKilowattHour = quantity("USD/kWh", ge=0)
Years = quantity("year", gt=0)
