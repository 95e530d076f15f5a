"""The launch time that all attention of a step shares: paid once per layer and step, not once per chunk or kind."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from simulator.devices.device import Bound
from simulator.pricing import grids
from simulator.pricing.curves import Curve


def split_off_launch(curves: list[Curve], shared: Collection[str], launch_s: float, max_rows: int) -> list[Curve]:
    """`curves` with `launch_s` taken out of the attention operators named in `shared` and made an operator of its own.

    Engines add up the prices of a step's chunks and decodes. An attention kernel takes them all in one launch (vLLM's
    flash attention with variable lengths), and so do an NPU's command processor and the PIM controllers. Where prompts and
    decodes run in different kernels (latent attention, recurrences) nothing is shared.
    """
    both = [curve for curve in curves if curve.name in shared]
    if not both:
        return curves
    layers = sum(curve.repeats for curve in both if curve.name.startswith("decode"))
    found = [replace(c, seconds=np.maximum(c.seconds - launch_s, 0.0)) if c.name in shared else c for c in curves]
    knots = grids.row_knots(max_rows)
    launch = Curve("attention_launch", "before", layers, np.full(len(knots), launch_s), np.zeros(len(knots)),
                   np.full(len(knots), float(Bound.LAUNCH)), max(c.fidelity for c in both))
    return [*found, launch]
