"""`python -m simulator price` prints the time and energy of one operator on one device, shape by shape."""

from __future__ import annotations

import json
import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from simulator.analysis.evidence import evidence
from simulator.commands.chart_page import Chart, Line, write_charts
from simulator.commands.operator_text import Shapes, parse_operator
from simulator.design.load import load_hardware, parse_override
from simulator.design.records.serving import Parallelism
from simulator.design.units import show_seconds
from simulator.devices.build import build
from simulator.devices.device import Bound, Priced
from simulator.devices.pim import PimDevice
from simulator.devices.roofline import roofline_s, work
from simulator.model.operators import Collective, DecodeAttention, PrefillAttention


def price_command(source: str, op: str, overrides: list[str], *, as_json: bool, plot: str | None) -> int:
    """Prints time, bound, share of the roofline, rates and energy at every shape. Raises InputError."""
    hardware = load_hardware(source, dict(parse_override(text) for text in overrides))
    shapes = parse_operator(op)
    ranks = shapes.operator.ranks if isinstance(shapes.operator, Collective) else 1
    devices = build(hardware, Parallelism(tensor=ranks))
    if isinstance(shapes.operator, Collective):
        device = devices.link
    elif isinstance(shapes.operator, DecodeAttention):
        device = devices.decode
    else:
        device = devices.prefill if isinstance(shapes.operator, PrefillAttention) else devices.compute
    priced = device.price(shapes.operator, *shapes.axes)
    name, roof_s = hardware.name, roofline_s(hardware, shapes.operator, *shapes.axes)
    if isinstance(device, PimDevice) and isinstance(shapes.operator, DecodeAttention):
        name, roof_s = f"{name}, in PIM", device.roofline_s(shapes.operator, *shapes.axes)
    if as_json:
        json.dump(_rows(shapes, priced, roof_s), sys.stdout, indent=1)
        print()
    else:
        _print(name, shapes, priced, roof_s)
        Console(width=None if sys.stdout.isatty() else 110).print(f"{hardware.name}: {evidence(hardware)}", highlight=False)
    if plot is not None:
        _plot(name, shapes, priced, roof_s, plot)
    return 0


def _rows(shapes: Shapes, priced: Priced, roof_s: np.ndarray) -> list[dict[str, object]]:
    return [{**{name: float(axis[i]) for name, axis in zip(shapes.names, shapes.axes, strict=True)},
             "seconds": float(priced.seconds[i]), "roofline_s": float(roof_s[i]), "joules": float(priced.joules[i]),
             "bound": Bound(int(priced.bound[i])).name.lower(), "fidelity": priced.fidelity.name.lower()}
            for i in range(len(roof_s))]


def _print(name: str, shapes: Shapes, priced: Priced, roof_s: np.ndarray) -> None:
    done = work(shapes.operator, *shapes.axes)
    flops, moved = done.flops, done.least_bytes
    table = Table(*shapes.names, "time", "bound", "of roofline", "TFLOP/s", "GB/s", "energy",
                  title=f"{shapes.kind} on {name} ({priced.fidelity.name.lower()})", title_justify="left")
    for column in table.columns:
        column.justify = "right"
    for i, seconds in enumerate(priced.seconds):
        table.add_row(*(f"{axis[i]:,.0f}" for axis in shapes.axes), show_seconds(float(seconds)),
                      Bound(int(priced.bound[i])).name.lower(), f"{roof_s[i] / seconds:.1%}" if seconds else "",
                      f"{flops[i] / seconds / 1e12:,.4g}", f"{moved[i] / seconds / 1e9:,.4g}", _joules(float(priced.joules[i])))
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def _plot(name: str, shapes: Shapes, priced: Priced, roof_s: np.ndarray, file: str) -> None:
    axis = 0 if len(set(shapes.axes[0])) > 1 else -1
    x, bounds = shapes.axes[axis], [Bound(int(bound)).name.lower() for bound in priced.bound]
    write_charts([Chart(f"{shapes.kind} on {name}", shapes.names[axis], "microseconds", logarithmic=True, lines=[
        Line("priced", x, priced.seconds * 1e6, notes=bounds), Line("roofline", x, roof_s * 1e6, "#d62728", dashed=True)])], file)


def _joules(value: float) -> str:
    for scale, unit in ((1.0, "J"), (1e-3, "mJ"), (1e-6, "uJ"), (1e-9, "nJ")):
        if value >= scale:
            return f"{value / scale:.4g} {unit}"
    return f"{value * 1e12:.3g} pJ"
