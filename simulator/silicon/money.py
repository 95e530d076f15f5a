"""The money of a design's hardware: purchase price, area and power of one accelerator, and USD per hour of a system."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.design.records.hardware import Hardware
from simulator.design.records.money import Costs
from simulator.devices import dram
from simulator.inputs.errors import InputError
from simulator.silicon.area import npu_area
from simulator.silicon.die_cost import die_usd
from simulator.silicon.power import peak_w, static_w
from simulator.silicon.power_cap import capped

HOURS_PER_YEAR = 8766.0  # Julian year, as the unit `year`


@dataclass(frozen=True)
class Bill:
    """One accelerator with its share of PIM and server."""

    area_mm2: float  # 0 where a GPU's die area is not given
    device_usd: float  # accelerator with its memory, as bought
    pim_usd: float
    server_usd: float
    static_w: float  # accelerator, PIM and server, whatever the work
    peak_w: float

    @property
    def capital_usd(self) -> float:
        return self.device_usd + self.pim_usd + self.server_usd


def bill(hardware: Hardware, costs: Costs) -> Bill:
    """The bill of one accelerator. Pooled PIM stacks are spread over the accelerators that share them.

    Raises InputError for a GPU with neither a price nor a die area and process.
    """
    area, device = _device(hardware, costs)
    return Bill(area_mm2=area, device_usd=device, pim_usd=_pim_usd(hardware, costs), server_usd=costs.server_usd,
                static_w=static_w(hardware, area) + costs.server_power_w,
                peak_w=peak_w(capped(hardware), area) + costs.server_power_w)


def cost_per_hour_usd(bill: Bill, devices: int, power_w: float, costs: Costs) -> float:
    """Capital of `devices` accelerators written off evenly over their life, plus `power_w` of the whole system (servers
    included) with the facility's overhead."""
    capital = bill.capital_usd * devices / (costs.lifetime_years * HOURS_PER_YEAR)
    return capital + power_w / 1000 * costs.power_usage_effectiveness * costs.electricity_usd_per_kwh


def _device(hardware: Hardware, costs: Costs) -> tuple[float, float]:
    """(die mm2, USD) of an accelerator: as listed, or from its die, memory and package."""
    gpu, npu = hardware.gpu, hardware.npu
    if hardware.device is not None:
        return hardware.device.die_mm2 or 0.0, hardware.device.price_usd
    if gpu is not None:
        area = gpu.die_mm2 or 0.0
        if gpu.price_usd is not None:
            return area, gpu.price_usd
        if gpu.die_mm2 is None or gpu.process_nm is None:
            raise InputError("give 'price', or 'die_mm2' and 'process_nm'", key="hardware.gpu.price")
        return area, _made_usd(hardware, area, gpu.process_nm, costs)
    assert npu is not None
    area = npu_area(hardware).total
    return area, _made_usd(hardware, area, npu.process_nm, costs)


def _made_usd(hardware: Hardware, area_mm2: float, process_nm: int, costs: Costs) -> float:
    memory = hardware.memory
    stacks = memory.stacks + (hardware.pim.stacks_per_npu if hardware.pim.placement == "local" else 0.0)
    premium = costs.pim_premium if hardware.pim.placement == "shared" else 1.0
    materials = (die_usd(area_mm2, costs.nodes.of(process_nm)) + costs.package_usd + stacks * costs.package_stack_usd
                 + dram.capacity_bytes(memory) / dram.GB * costs.memory.of(memory.kind) * premium)
    return materials * costs.markup


def _pim_usd(hardware: Hardware, costs: Costs) -> float:
    pim = hardware.pim
    gigabytes = hardware.added_stacks * dram.stack_capacity_bytes(pim.kind) / dram.GB
    return gigabytes * costs.memory.of(pim.kind) * costs.pim_premium * costs.markup
