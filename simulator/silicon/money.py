"""The money of a design's hardware: area, price and power of one accelerator, and USD per hour of a system, on one basis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from simulator.design.records.hardware import Hardware
from simulator.design.records.money import CostBasis, Costs
from simulator.design.records.silicon import NodeNm
from simulator.devices import dram
from simulator.inputs.errors import InputError
from simulator.silicon.area import area_mm2, compute_mm2
from simulator.silicon.die_cost import die_usd
from simulator.silicon.power import peak_w, static_w

HOURS_PER_YEAR = 8766.0  # Julian year, as the unit `year`
BASIS_TEXT: dict[CostBasis, str] = {"rental": "rented", "owned_list": "owned, at list price",
                                    "owned_bom": "owned, at bill of materials"}
BASIS_WORD: dict[CostBasis, str] = {"rental": "rent", "owned_list": "list", "owned_bom": "BOM"}  # next to an amount


@dataclass(frozen=True)
class Bill:
    """One accelerator with its share of PIM, server and network. Rented: USD are 0 and `rent_usd_per_hour` says it all."""

    basis: CostBasis
    area_mm2: float  # 0 where a GPU's die area is not known
    device_usd: float  # accelerator with its memory, as bought
    pim_usd: float
    server_usd: float  # and network
    rent_usd_per_hour: float
    static_w: float  # accelerator, PIM and server, whatever the work
    peak_w: float
    w_per_mm2: float  # at full matrix load; 0 where the area is not known
    estimated: bool  # whether a list price was asked for and there is none: a challenger's is taken

    @property
    def capital_usd(self) -> float:
        return self.device_usd + self.pim_usd + self.server_usd


@dataclass(frozen=True)
class Made:
    """What one accelerator costs to make (USD): working dies, memory, package, all of it with assembly losses; design."""

    dies_usd: float
    memory_usd: float
    package_usd: float
    loss_usd: float
    nre_usd: float  # one chip's share

    @property
    def cost_usd(self) -> float:
        """Without non-recurring cost."""
        return self.dies_usd + self.memory_usd + self.package_usd + self.loss_usd


def bill(hardware: Hardware, costs: Costs) -> Bill:
    """The bill of one accelerator on the costs' basis. Pooled PIM stacks are spread over the accelerators that share them.

    Raises InputError where the basis needs what the hardware does not tell: a rent, a list price, or a die and its node.
    """
    area, basis, rented = area_mm2(hardware), costs.cost_basis, costs.cost_basis == "rental"
    listed = _listed_usd(hardware)
    device = pim = rent = 0.0
    if rented:
        rent = rent_usd_per_hour(hardware, costs)
    else:
        device = listed if basis == "owned_list" and listed is not None else _sold_usd(hardware, costs)
        pim = _pim_usd(hardware, costs)
    return Bill(basis=basis, area_mm2=area, device_usd=device, pim_usd=pim,
                server_usd=0.0 if rented else costs.server_usd + costs.network_usd, rent_usd_per_hour=rent,
                static_w=static_w(hardware, area) + costs.server_power_w, peak_w=peak_w(hardware, area) + costs.server_power_w,
                w_per_mm2=peak_w(hardware, area) / area if area else 0.0,
                estimated=basis == "owned_list" and listed is None)


def cost_per_hour_usd(bill: Bill, devices: int, power_w: float, costs: Costs) -> float:
    """Rent of `devices`; or their capital written off evenly over their life, the floor space that their peak power needs,
    and `power_w` of the whole system (servers included) with the facility's overhead."""
    if bill.basis == "rental":
        return bill.rent_usd_per_hour * devices
    capital = bill.capital_usd / (costs.lifetime_years * HOURS_PER_YEAR)
    space = bill.peak_w / 1000 * costs.facility_usd_per_kw_month * 12 / HOURS_PER_YEAR
    return (capital + space) * devices + power_w / 1000 * costs.power_usage_effectiveness * costs.electricity_usd_per_kwh


def rent_usd_per_hour(hardware: Hardware, costs: Costs) -> float:
    """Rent of one device: the design's own, else the provider's. Raises InputError where there is none."""
    if hardware.rental_usd_per_hour is not None:
        return hardware.rental_usd_per_hour
    known = dict(costs.rents).get(hardware.name)
    found = getattr(known, f"{costs.provider}_usd_per_hour") if known is not None else None
    if found is None:
        raise InputError(f"cost_basis is rental and no rent of '{hardware.name}' at a {costs.provider} is known: give "
                         f"hardware.rental ('2.5 USD/h') or costs.rents", key="costs.cost_basis")
    return float(found)


def same_basis(one: Costs, other: Costs) -> None:
    """Raises InputError where amounts of two designs stand on different bases: a percentage between them means nothing."""
    if one.cost_basis != other.cost_basis:
        raise InputError(f"amounts on different bases are not compared: {one.cost_basis} and {other.cost_basis}; give both "
                         f"designs the same costs.cost_basis", key="costs.cost_basis")


def made(hardware: Hardware, costs: Costs) -> Made:
    """What one accelerator costs to make. Raises InputError where its dies are not known."""
    memory, dies = hardware.memory, list(_dies(hardware))
    local = hardware.pim.placement == "local"
    stacks = (memory.stacks if memory.kind.startswith("HBM") else 0) + (hardware.pim.stacks_per_npu if local else 0.0)
    premium = costs.pim_premium if hardware.pim.placement == "shared" else 1.0
    silicon = sum(count * die_usd(mm2, costs.nodes.of(nm), hardware.silicon.repairable) for mm2, nm, count in dies)
    chips = dram.capacity_bytes(memory) / dram.GIB * costs.memory.of(memory.kind) * premium
    covered = max(count * mm2 for mm2, _, count in dies) + stacks * costs.package_stack_mm2  # base dies lie underneath
    package = costs.package_usd + costs.package_usd_per_mm2 * covered
    return Made(silicon, chips, package, (costs.assembly_loss - 1) * (silicon + chips + package),
                costs.nodes.of(dies[0][1]).nre_usd / costs.volume)


def _dies(hardware: Hardware) -> Iterator[tuple[float, NodeNm, int]]:
    """(mm2, node, count) of every kind of die on the package, compute dies first."""
    npu, gpu = hardware.npu, hardware.gpu
    if npu is not None:
        yield area_mm2(hardware) / npu.dies, npu.process_nm, npu.dies
        return
    if gpu is None or gpu.process_nm is None:
        raise InputError("a bill of materials needs the die: give hardware.gpu.process_nm (and die_mm2), or choose cost_basis "
                         "owned_list or rental", key="hardware.gpu.process_nm")
    yield compute_mm2(hardware) / gpu.dies, gpu.process_nm, gpu.dies
    if gpu.base_dies is not None:
        yield gpu.base_dies.die_mm2 / gpu.base_dies.dies, gpu.base_dies.process_nm, gpu.base_dies.dies


def _listed_usd(hardware: Hardware) -> float | None:
    if hardware.device is not None:
        return hardware.device.price_usd
    return hardware.gpu.price_usd if hardware.gpu is not None else hardware.npu.price_usd if hardware.npu is not None else None


def _margin(costs: Costs) -> float:
    """Of devices priced by their parts: the costs' own; next to list prices that of a challenger."""
    name = costs.margin if costs.cost_basis == "owned_bom" else "challenger"
    found: float = getattr(costs.margins, name)
    return found


def _sold_usd(hardware: Hardware, costs: Costs) -> float:
    parts = made(hardware, costs)
    return parts.cost_usd * _margin(costs) + parts.nre_usd


def _pim_usd(hardware: Hardware, costs: Costs) -> float:
    pim = hardware.pim
    gigabytes = hardware.added_stacks * dram.stack_capacity_bytes(pim.kind) / dram.GIB
    return gigabytes * costs.memory.of(pim.kind) * costs.pim_premium * costs.assembly_loss * _margin(costs)
