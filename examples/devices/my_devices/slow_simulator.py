"""An external simulator as a device: one process per shape, tens of milliseconds each.

`command` is run as `command FLOPS BYTES BITS` and prints seconds and joules. With `grid = "coarse"` a design asks for
some 300 shapes; the shared cost cache keeps the answers for all other designs of the sweep, and a study's costs.npz for
the next study.
"""

from __future__ import annotations

import hashlib
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator.design.records.hardware import Hardware
from simulator.devices.device import Bound, Fidelity, Priced
from simulator.devices.roofline import work
from simulator.model.operators import Operator


@dataclass(frozen=True)
class SlowSimulator:
    """The device; `hardware` is what the entry point is called with, `command` its option."""

    hardware: Hardware
    command: str

    grid = "coarse"

    def fingerprint(self) -> str:
        """The command, the files it names and the memory: a rebuilt simulator never meets old prices."""
        digest = hashlib.blake2b(digest_size=16)
        for word in shlex.split(self.command):
            digest.update(word.encode() + b"\0")
            if Path(word).is_file():
                digest.update(Path(word).read_bytes())
        return f"slow-simulator {digest.hexdigest()} {self.hardware.memory!r}"

    def price(self, operator: Operator, *axes: np.ndarray) -> Priced:
        shapes = np.broadcast_arrays(*(np.asarray(axis, dtype=np.float64) for axis in axes))
        done = work(operator, *shapes)
        pairs = zip(done.flops.ravel(), done.least_bytes.ravel(), strict=True)
        answers = np.array([self._ask(flops, moved, done.bits) for flops, moved in pairs])
        seconds, joules = (column.reshape(done.flops.shape) for column in answers.T)
        bound = np.full(done.flops.shape, int(Bound.COMPUTE), dtype=np.int8)
        return Priced(seconds, joules, bound, Fidelity.ANALYTIC)

    def _ask(self, flops: float, moved: float, bits: int) -> tuple[float, float]:
        done = subprocess.run([*shlex.split(self.command), f"{flops:.17g}", f"{moved:.17g}", str(bits)],
                              capture_output=True, text=True, timeout=60, check=True)
        seconds, joules = done.stdout.split()
        return float(seconds), float(joules)
