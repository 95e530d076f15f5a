"""The assumptions about money and power outside the design: what silicon, memory, servers and electricity cost."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from simulator.design.records.base import (
    Dollars,
    DollarsPerGigabyte,
    DollarsPerKilowattHour,
    NonNegative,
    Positive,
    Record,
    Watts,
    Years,
)


class Node(Record):
    """One logic process: price of a processed 300 mm wafer, defects per mm2."""

    wafer_usd: Dollars = Field(alias="wafer")
    defects_per_mm2: NonNegative


class Nodes(Record):
    """Logic processes by feature size in nm."""

    n16: Node
    n10: Node
    n7: Node
    n5: Node

    def of(self, process_nm: int) -> Node:
        found: Node = getattr(self, f"n{process_nm}")
        return found


class MemoryPrices(Record):
    """USD per GB (1e9 bytes) of device memory, by kind."""

    hbm2: DollarsPerGigabyte = Field(alias="HBM2")
    hbm2e: DollarsPerGigabyte = Field(alias="HBM2E")
    hbm3: DollarsPerGigabyte = Field(alias="HBM3")
    hbm3e: DollarsPerGigabyte = Field(alias="HBM3E")
    gddr6: DollarsPerGigabyte = Field(alias="GDDR6")
    gddr6x: DollarsPerGigabyte = Field(alias="GDDR6X")
    gddr7: DollarsPerGigabyte = Field(alias="GDDR7")
    lpddr5: DollarsPerGigabyte = Field(alias="LPDDR5")

    def of(self, kind: str) -> float:
        found: float = getattr(self, kind.lower())
        return found


class Costs(Record):
    """Everything that turns an area, a memory and a power into USD per hour. `source` is a label."""

    name: str = "costs"
    source: str = ""
    nodes: Nodes
    memory: MemoryPrices
    pim_premium: Positive  # price of a PIM stack over a plain one of its kind
    package_usd: Dollars = Field(alias="package")  # substrate, assembly and test of one accelerator
    package_stack_usd: Dollars = Field(alias="package_stack")  # interposer and bonding of each stack next to the die
    markup: Annotated[float, Field(ge=1)]  # selling price over the bill of materials
    server_usd: Dollars = Field(alias="server")  # host, network, chassis and rack per accelerator
    server_power_w: Watts = Field(alias="server_power")  # the same, mean power per accelerator
    lifetime_years: Years = Field(alias="lifetime")
    power_usage_effectiveness: Annotated[float, Field(ge=1)]  # facility power over equipment power
    electricity_usd_per_kwh: DollarsPerKilowattHour = Field(alias="electricity")
