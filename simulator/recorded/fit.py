"""The fit of host and efficiency constants to a few measured engine steps.

The model of a step is a sum of what the tables say, each part with a factor, and what the engine adds:

    step + sequence * n + max(linear(T) * L, launches * [no CUDA graph]) + decode(B) * D + prefill * P  [+ graph steps]

L, D, P are the seconds of linear operators (collectives and head included), decode and prefill attention from
`StepCosts`; a factor above one is an efficiency below the table's. The factor of L is interpolated over the step's
tokens T between ROWS (memory-bound, compute-bound and power-limited steps reach other shares of the peaks: the clock falls
within a long step). Two kinds of compute-bound steps follow others of their kind, at a clock that has fallen before they
begin, and have factors of their own: those without decodes, and those whose chunks continue a prompt (context before them).
That of D is interpolated over the decodes B between BATCHES (a few long sequences and many do not fill a device alike). Without a
CUDA graph the CPU launches kernels one by one, and the device waits where its own time is shorter: `launches`. `sizes`
adds one constant per batch size from which on a step of decodes alone takes longer: kernels change with the (padded) batch. No
constant is negative, no factor below LEAST_FACTOR.

The fit minimises the sum of absolute relative errors (iteratively reweighted non-negative least squares), so that a few
outliers among the measured steps do not move it. Measure steps of several batch sizes and contexts, some with a prefill
chunk: twenty to a hundred are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from simulator.pricing.step import StepCosts

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

ROUNDS = 30  # of reweighting
LEAST_ERROR = 1e-3  # relative errors below this weigh alike
ROWS = (64, 256, 512, 1024, 2048, 4096, 8192)  # tokens at which linear operators have a factor of their own; ends held
COMPUTE_BOUND = 512  # tokens from which a step is limited by multiplications on every device we know (ridge points 150-300)
BATCHES = (1, 8, 24, 32, 64)  # the same for decodes and decode attention
# Least factor: the analytic device reaches about 0.8 of its roofline (a calibrated GPU's `memory_efficiency` and
# `compute_efficiency`), and nothing beats the roofline.
LEAST_FACTOR = 0.8
PRIOR = 2.0  # how many exact steps the expectation of a parameter weighs: factors one, constants zero
# Linear operators take the same time in every small batch, so a constant of the step can hardly be told from them, however many
# steps there are: it is held to what a step of vLLM takes on the CPU (`host.step` of the shipped records), with a weight that
# grows with the measured steps.
STEP_S, STEP_PRIOR = 1e-3, 1 / 50
LAUNCH_BOUND = 2  # multiple of the largest graph up to which steps are first taken as waiting for launches
STEP, LAUNCHES, FACTORS = 0, 2, slice(3, 5 + len(ROWS))  # where these parameters stand; last factors: see `_row_shares`


@dataclass(frozen=True)
class Steps:
    """Measured steps; shapes [steps]. Prefill as one engine step reports it: chunks of equal length and context."""

    decodes: Int64
    decode_context: Float64  # sum over decodes
    chunks: Int64
    chunk_tokens: Float64  # sum of new tokens
    chunk_context: Float64  # sum of tokens before them

    @property
    def tokens(self) -> Int64:
        return self.decodes + self.chunk_tokens.astype(np.int64)

    @property
    def sequences(self) -> Int64:
        return self.decodes + self.chunks


@dataclass(frozen=True)
class Parts:
    """Seconds of each part of every step as the tables have it; [steps]."""

    linear: Float64
    decode: Float64
    prefill: Float64
    host: Float64


@dataclass(frozen=True)
class Calibration:
    """See the module text. Seconds, and factors on the tables' times; sizes and size_s go together."""

    step_s: float
    sequence_s: float
    launches_s: float  # of all decoder blocks; 0 where no step waits for them
    linear: tuple[float, ...]  # at ROWS, of prefill alone, of chunks that continue a prompt
    decode: tuple[float, ...]  # at BATCHES
    prefill: float
    sizes: tuple[int, ...] = ()
    size_s: tuple[float, ...] = ()


def parts(costs: StepCosts, steps: Steps) -> Parts:
    """What `costs` says of every step (one pipeline stage, serial overlap); for `fit`, of a host without `graphless_layer`."""
    tokens, sequences = steps.tokens, steps.sequences
    linear = costs.linear_ns[tokens] + costs.stage_tokens_ns[0, tokens] + costs.stage_sequences_ns[0, sequences]
    decode, prefill = np.zeros(len(tokens)), np.zeros(len(tokens))
    for i in np.flatnonzero(steps.decodes):
        b = int(steps.decodes[i])
        decode[i] = _at(costs.context_knots, costs.decode_ns[b], steps.decode_context[i] / b)
    for i in np.flatnonzero(steps.chunks):
        k = int(steps.chunks[i])
        along = np.array([_at(costs.context_knots, row, steps.chunk_context[i] / k) for row in costs.prefill_ns])
        prefill[i] = k * _at(costs.chunk_knots, along, steps.chunk_tokens[i] / k)
    return Parts(linear / 1e9, decode / 1e9, prefill / 1e9, costs.host_ns[sequences] / 1e9)


def fit(found: Parts, steps: Steps, measured_s: Float64, largest_graph: int, sizes: Sequence[int] = (),
        launches_s: float | None = None) -> Calibration:
    """The calibration that reproduces `measured_s` best. `launches_s`: what is expected of them, where something is."""
    graphless = steps.tokens > largest_graph
    waiting = graphless & (steps.tokens <= LAUNCH_BOUND * largest_graph)
    columns = _columns(found, steps, waiting, sizes)
    expected = np.array([0.0] * 3 + [1.0] * (len(ROWS) + 2 + len(BATCHES) + 1) + [0.0] * len(sizes))
    least = np.where(expected > 0, LEAST_FACTOR, 0.0)
    expected[STEP], expected[LAUNCHES] = STEP_S, launches_s or 0.0
    prior = np.full(len(expected), PRIOR)
    prior[STEP], prior[LAUNCHES] = STEP_PRIOR * len(measured_s), 0.0 if launches_s is None else PRIOR
    weights = np.ones(len(measured_s))
    found_x = expected
    for _ in range(ROUNDS):
        relative = columns / measured_s[:, None]
        scale = np.maximum(relative.max(axis=0), 1e-12)
        present = np.maximum((columns > 0).sum(axis=0), 1)
        pull = np.diag(prior * relative.sum(axis=0) / present)
        system = np.vstack([relative * weights[:, None], pull])
        target = np.concatenate([weights, pull @ expected])
        found_x = least + nnls(system / scale, target - system @ least)[0] / scale
        waiting = graphless & (_linear_s(found, steps, found_x[FACTORS]) < found_x[LAUNCHES])
        columns = _columns(found, steps, waiting, sizes)
        weights = 1 / np.sqrt(np.maximum(np.abs(columns @ found_x / measured_s - 1), LEAST_ERROR))
    x = np.where((columns > 0).any(axis=0), found_x, expected).tolist()  # what no step shows stays as expected
    rows, rest = tuple(x[FACTORS]), x[FACTORS.stop:]
    batches, rest = tuple(rest[: len(BATCHES)]), rest[len(BATCHES):]
    return Calibration(x[0], x[1], x[2], rows, batches, rest[0], tuple(sizes), tuple(rest[1:]))


def predicted_s(found: Parts, steps: Steps, calibration: Calibration, largest_graph: int) -> Float64:
    """Seconds of every step under a calibration."""
    c = calibration
    x = np.array([c.step_s, c.sequence_s, c.launches_s, *c.linear, *c.decode, c.prefill, *c.size_s])
    waiting = (steps.tokens > largest_graph) & (_linear_s(found, steps, np.array(c.linear)) < c.launches_s)
    return _columns(found, steps, waiting, c.sizes) @ x


def _columns(found: Parts, steps: Steps, waiting: NDArray[np.bool_], sizes: Sequence[int]) -> Float64:
    """What each parameter is multiplied with in every step; `waiting`: which wait for launches."""
    ones = np.ones(len(found.linear))
    among = _shares(np.maximum(steps.decodes, 1), BATCHES)
    return np.stack([ones, steps.sequences.astype(float), waiting.astype(float),
                     *np.where(waiting, 0.0, _row_shares(steps) * found.linear), *(among * found.decode), found.prefill,
                     *[((steps.decodes >= s) & (steps.chunks == 0)).astype(float) for s in sizes]], axis=1)


def _linear_s(found: Parts, steps: Steps, factors: Float64) -> Float64:
    """Seconds of linear operators under their factors at ROWS."""
    total: Float64 = found.linear * (factors @ _row_shares(steps))
    return total


def _row_shares(steps: Steps) -> Float64:
    """How much each linear factor counts in every step: those at ROWS, prefill alone, continued prompts; [factors, steps]."""
    alone = (steps.decodes == 0) & (steps.tokens >= COMPUTE_BOUND)
    continued = (steps.decodes > 0) & (steps.chunk_context > 0) & (steps.tokens >= COMPUTE_BOUND)
    return np.vstack([np.where(alone | continued, 0.0, _shares(steps.tokens, ROWS)), alone, continued])


def _shares(at: Int64, knots: Sequence[int]) -> Float64:
    """How much each knot counts at each value, by interpolation over the logarithm: [knots, values]."""
    return np.array([np.interp(np.log(at), np.log(knots), unit) for unit in np.eye(len(knots))])


def _at(knots: Float64, values: Float64, x: float) -> float:
    """Linear interpolation, the last cell continued beyond the knots."""
    if x <= knots[-1]:
        return float(np.interp(x, knots, values))
    slope = (values[-1] - values[-2]) / (knots[-1] - knots[-2])
    return float(values[-1] + slope * (x - knots[-1]))
