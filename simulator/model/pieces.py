"""The pieces that operators of all layers are made of: GEMMs by part, row-wise vectors, collectives of the residual stream."""

from __future__ import annotations

from simulator.design.records.model import Architecture, PartName, PartPrecision, Precision
from simulator.model.operators import Collective, Gemm, NamedOperator, Operator, Part, Scales, Vector

STREAM_BYTES = 2  # one element of the residual stream

# Operations per element, counted from the definitions.
_ADD_RMS_NORM = 5.0  # add residual, square, accumulate, scale by rsqrt, weight
_ADD_LAYER_NORM = 8.0  # add residual, sum, subtract mean, square, accumulate, scale, weight, bias
ROTARY = 3.0  # two products and a sum
GATED_ACTIVATION = 4.0  # silu(x) * y = x / (1 + exp(-x)) * y, and one exp
PLAIN_ACTIVATION = 8.0  # tanh-approximated GELU: cubic, tanh from one exp, product
SAMPLING = 4.0  # scale, running maximum, subtract, sum; and one exp


def scales_of(found: PartPrecision) -> Scales:
    """The block format of a part's operands; none where a whole row or column shares a scale."""
    for name in (found.weights, found.activations):
        if name == "fp8_block" or name == "nvfp4" or name == "mxfp4":
            return name
    return ""


def gemm(n: int, k: int, precision: Precision, part: PartName) -> Gemm:
    found = precision.of(part)
    return Gemm(n=n, k=k, weight_bits=found.weight_bits, activation_bits=found.activation_bits, scales=scales_of(found))


def unquantised_gemm(n: int, k: int) -> Gemm:
    return Gemm(n=n, k=k, weight_bits=16, activation_bits=16)


def elementwise(width: int, flops: float, exps: float = 0.0, reads: float = 1.0, writes: float = 1.0) -> Vector:
    return Vector(width=width, flops_per_element=flops, exps_per_element=exps,
                  read_bytes_per_row=reads * width * STREAM_BYTES, write_bytes_per_row=writes * width * STREAM_BYTES)


def norm(arch: Architecture, width: int, residual: bool) -> Vector:
    """A norm; with `residual` it also reads the residual, adds it and writes the sum back."""
    flops = _ADD_RMS_NORM if arch.norm == "rms" else _ADD_LAYER_NORM
    passes = 2.0 if residual else 1.0
    return elementwise(width, flops if residual else flops - 1, reads=passes, writes=passes)


def all_reduce(name: str, arch: Architecture, tensor: int, repeats: int, part: Part) -> list[NamedOperator]:
    if tensor == 1:
        return []
    traffic = Collective(kind="all_reduce", ranks=tensor, bytes_per_row=arch.hidden * STREAM_BYTES)
    return [NamedOperator(name, traffic, repeats, part)]


def attention_bits(precision: Precision) -> int:
    """Of queries: the format of the projections' operands, 8 bits at least, and 16 where a 4-bit model keeps its cache in 16."""
    bits = precision.of("attention").activation_bits
    return bits if bits >= 8 else 8 if precision.kv_bits <= 8 else 16


def cache_write(width: int, bits: int) -> Vector:
    """New entries of `width` elements into a cache of `bits`-wide elements."""
    return Vector(width=width, flops_per_element=0.0, exps_per_element=0.0,
                  read_bytes_per_row=width * STREAM_BYTES, write_bytes_per_row=width * bits / 8)


def mlp(hidden: int, width: int, gated: bool, precision: Precision, part: PartName, prefix: str = "") -> list[tuple[str, Operator]]:
    """An MLP of (a rank's share of) `width`."""
    if gated:
        up = ("gate_up", gemm(2 * width, hidden, precision, part))
        activation = elementwise(width, GATED_ACTIVATION, exps=1.0, reads=2.0)
    else:
        up = ("up", gemm(width, hidden, precision, part))
        activation = elementwise(width, PLAIN_ACTIVATION, exps=1.0)
    return [(prefix + up[0], up[1]), (prefix + "activation", activation), (prefix + "down", gemm(hidden, width, precision, part))]


def exchanged(arch: Architecture, data: int, per_token: int) -> list[tuple[str, Operator]]:
    """How engines that share experts bring their rows together and take their results back, as vLLM's default backend
    does (device_communicators/all2all.py, AgRsAll2AllManager): an all-gather of hidden states, router weights (fp32) and
    expert numbers (int32), and a reduce-scatter of the experts' outputs."""
    moved = float(arch.hidden * STREAM_BYTES)
    return [("experts_dispatch", Collective("all_gather", data, moved + per_token * (4 + 4))),
            ("experts_combine", Collective("reduce_scatter", data, moved))]
