"""The launch time that all attention of a step shares: paid once per layer and step, not once per chunk or kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.devices.device import Bound
from simulator.pricing import grids
from simulator.pricing.curves import Curve


def split_off_launch(curves: list[Curve], launch_s: float, max_rows: int) -> list[Curve]:
    """`curves` with `launch_s` taken out of both attention operators and made an operator of its own.

    Engines add up the prices of a step's chunks and decodes. An attention kernel takes them all in one launch (vLLM's
    flash attention with variable lengths), and so do an NPU's command processor and the PIM controllers.
    """
    layers = next(curve.repeats for curve in curves if curve.part == "attention")
    shared = [replace(c, seconds=np.maximum(c.seconds - launch_s, 0.0)) if c.part == "attention" else c for c in curves]
    knots = grids.row_knots(max_rows)
    launch = Curve("attention_launch", "before", layers, np.full(len(knots), launch_s), np.zeros(len(knots)),
                   np.full(len(knots), float(Bound.LAUNCH)), max(c.fidelity for c in curves if c.part == "attention"))
    return [*shared, launch]
