"""The assumptions about money and power outside the design: what silicon, memory, servers, floor space and electricity cost.

Every amount stands on one basis, `cost_basis`:

- `rental`: USD per hour of a provider, with everything in it.
- `owned_list`: bought at list price. A device without one is priced as a challenger would sell it.
- `owned_bom`: bill of materials with non-recurring cost, times one margin, for every device alike.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from simulator.design.records.base import (
    Dollars,
    DollarsPerGigabyte,
    DollarsPerHour,
    DollarsPerKilowattHour,
    NonNegative,
    Positive,
    Record,
    Watts,
    Years,
)
from simulator.design.records.silicon import NodeNm

CostBasis = Literal["rental", "owned_list", "owned_bom"]
Provider = Literal["marketplace", "neocloud", "hyperscaler"]


class Node(Record):
    """One logic process: price of a processed 300 mm wafer, defects per mm2, design and masks of one chip."""

    wafer_usd: Dollars = Field(alias="wafer")
    defects_per_mm2: NonNegative
    nre_usd: Dollars = Field(default="0 USD", alias="nre", validate_default=True)


class Nodes(Record):
    """Logic processes by feature size in nm."""

    n16: Node
    n12: Node
    n10: Node
    n7: Node
    n6: Node
    n5: Node
    n4: Node
    n3: Node
    n2: Node

    def of(self, process_nm: NodeNm) -> Node:
        found: Node = getattr(self, f"n{process_nm}")
        return found


class MemoryPrices(Record):
    """USD per GB of device memory as DRAM is sold (2^30 bytes), by kind. SRAM is part of the die."""

    hbm2: DollarsPerGigabyte = Field(alias="HBM2")
    hbm2e: DollarsPerGigabyte = Field(alias="HBM2E")
    hbm3: DollarsPerGigabyte = Field(alias="HBM3")
    hbm3e: DollarsPerGigabyte = Field(alias="HBM3E")
    gddr6: DollarsPerGigabyte = Field(alias="GDDR6")
    gddr6x: DollarsPerGigabyte = Field(alias="GDDR6X")
    gddr7: DollarsPerGigabyte = Field(alias="GDDR7")
    lpddr5: DollarsPerGigabyte = Field(alias="LPDDR5")

    def of(self, kind: str) -> float:
        found: float = 0.0 if kind == "SRAM" else getattr(self, kind.lower())
        return found


class Margins(Record):
    """Price over cost of making, by who sells: `cost` nobody, `built` an ASIC partner, `challenger`, `leader`."""

    cost: Annotated[float, Field(ge=1)] = 1.0
    built: Annotated[float, Field(ge=1)]
    challenger: Annotated[float, Field(ge=1)]
    leader: Annotated[float, Field(ge=1)]


class Rent(Record):
    """USD per hour of one device by class of provider, with source and date."""

    marketplace_usd_per_hour: DollarsPerHour | None = Field(default=None, alias="marketplace")
    neocloud_usd_per_hour: DollarsPerHour | None = Field(default=None, alias="neocloud")
    hyperscaler_usd_per_hour: DollarsPerHour | None = Field(default=None, alias="hyperscaler")
    source: str
    date: str


def _by_name(value: object) -> object:
    """A mapping as sorted pairs, so that records stay hashable."""
    return tuple(sorted(value.items())) if isinstance(value, dict) else value


def _as_mapping(rents: tuple[tuple[str, Rent], ...]) -> dict[str, object]:
    return {name: rent.to_plain() for name, rent in rents}


Rents = Annotated[tuple[tuple[str, Rent], ...], BeforeValidator(_by_name), PlainSerializer(_as_mapping),
                  WithJsonSchema({"type": "object"})]


class Costs(Record):
    """Everything that turns an area, a memory and a power into USD per hour. `source` is a label."""

    name: str = "costs"
    source: str = ""
    cost_basis: CostBasis
    # rental
    provider: Provider
    rents: Rents  # by name of the hardware; `hardware.rental` goes before
    # bill of materials
    nodes: Nodes
    memory: MemoryPrices
    pim_premium: Positive  # price of a PIM stack over a plain one of its kind
    package_usd: Dollars = Field(alias="package")  # substrate and board of one accelerator
    package_usd_per_mm2: NonNegative  # interposer, assembly and test, over dies and stacks
    package_stack_mm2: NonNegative  # interposer under a stack
    assembly_loss: Annotated[float, Field(ge=1)]  # parts bought over parts that leave in good packages
    margins: Margins
    margin: Literal["cost", "built", "challenger", "leader"]  # of every device, where cost_basis is owned_bom
    volume: Positive  # chips that share the non-recurring cost
    # around the device
    server_usd: Dollars = Field(alias="server")  # host, chassis and rack per accelerator
    network_usd: Dollars = Field(alias="network")  # ports, switches and optics per accelerator
    server_power_w: Watts = Field(alias="server_power")  # host and network, mean power per accelerator
    lifetime_years: Years = Field(alias="lifetime")
    facility_usd_per_kw_month: NonNegative  # floor space, cooling and supply, by the power that a device may draw
    power_usage_effectiveness: Annotated[float, Field(ge=1)]  # facility power over equipment power
    electricity_usd_per_kwh: DollarsPerKilowattHour = Field(alias="electricity")
