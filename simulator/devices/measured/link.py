"""The measured link: a link model's time times measured / modelled, by message size.

The ratio is interpolated along the logarithm of the message and held beyond the ends. Collectives that the table does
not know, or that leave the node it was measured in, are the model's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.devices.device import Fidelity, Priced
from simulator.devices.links import LinkDevice
from simulator.devices.measured.table import OperatorTable
from simulator.model.operators import Collective, Operator

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class MeasuredLink:
    """Prices the collectives in `table`; asks `fallback` for the rest and for energy."""

    table: OperatorTable
    fallback: LinkDevice

    def fingerprint(self) -> str:
        return f"measured_link.1 {self.table.content_hash} | {self.fallback.fingerprint()}"

    def price(self, operator: Operator, *axes: Float64) -> Priced:
        """See `Device.price`. Raises TypeError for what is no collective."""
        base = self.fallback.price(operator, *axes)
        assert isinstance(operator, Collective)
        points = self.table.points("collective", (operator.kind, operator.ranks))
        across = self.fallback.scale_out is not None and operator.ranks > self.fallback.node_devices
        if points is None or operator.ranks == 1 or across:
            return base
        measured = points.axes[0]
        whole = Collective(operator.kind, operator.ranks, 1.0)
        ratio = points.seconds / self.fallback.price(whole, measured).seconds
        size = np.asarray(axes[0], dtype=np.float64) * operator.bytes_per_row
        seconds = base.seconds * np.interp(np.log(np.maximum(size, 1.0)), np.log(measured), ratio)
        inside = bool(((size >= measured[0]) & (size <= measured[-1])).mean() > 0.5)
        return Priced(seconds, base.joules, base.bound, Fidelity.INTERPOLATED if inside else Fidelity.CALIBRATED)
