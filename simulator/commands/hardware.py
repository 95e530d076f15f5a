"""`python -m simulator hardware` prints a summary of one hardware description, or lists those that ship."""

from __future__ import annotations

import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from simulator.analysis.evidence import MEASURED, evidence
from simulator.analysis.hardware_facts import facts
from simulator.design.load import CONFIGS, load_costs, load_hardware, parse_override
from simulator.design.records.hardware import Hardware
from simulator.design.records.serving import Parallelism
from simulator.devices import dram
from simulator.devices.roofline import peaks
from simulator.silicon.money import BASIS_TEXT, bill

# of the list, with their units: 16-bit and 8-bit are the peak rates of dense matrix products
COLUMNS = ("16-bit\nTFLOP/s", "8-bit\nTFLOP/s", "memory\nGB", "bandwidth\nTB/s", "link\nGB/s", "area\nmm2", "price\nUSD",
           "power\nW")


def hardware_command(source: str | None, overrides: list[str], costs: str) -> int:
    """Prints rates, bandwidths, area, power and price of one device; without a name, one line per shipped device."""
    console = Console(width=None if sys.stdout.isatty() else 100)
    if source is None:
        table = Table(Column("hardware", no_wrap=True), *(Column(name, justify="right", no_wrap=True) for name in COLUMNS),
                      Column("calibrated", no_wrap=True), box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for path in sorted((CONFIGS / "hardware").glob("*.yaml")):
            table.add_row(*_line(load_hardware(path.stem, {}), costs))
        console.print(table)
        basis = BASIS_TEXT[load_costs(costs).cost_basis]
        console.print(f"prices: {basis}; power: at full matrix load, share of the server included")
        console.print("calibrated on measurements: what the last column names; all else: datasheet only")
        return 0
    hardware = load_hardware(source, dict(parse_override(text) for text in overrides))
    console.print(f"[bold]{hardware.name}[/]  {hardware.source}")
    table = Table("quantity", "value", show_header=False)
    for name, value in facts(hardware, load_costs(costs), Parallelism()):
        table.add_row(name, value)
    console.print(table)
    return 0


def _line(hardware: Hardware, costs: str) -> tuple[str, ...]:
    top, cost, rests = peaks(hardware), bill(hardware, load_costs(costs)), evidence(hardware)
    return (hardware.name, f"{top.matrix_16bit_flops / 1e12:,.0f}", f"{top.matrix_8bit_flops / 1e12:,.0f}",
            f"{dram.capacity_bytes(hardware.memory) / 1e9:,.0f}", f"{top.memory_bytes_per_s / 1e12:.2f}",
            f"{top.link_bytes_per_s / 1e9:,.0f}", f"{cost.area_mm2:,.0f}" if cost.area_mm2 else "-",
            f"{cost.device_usd + cost.pim_usd:,.0f}", f"{cost.peak_w:,.0f}",
            ", ".join(name for name, basis in vars(rests).items() if basis == MEASURED) or "-")
