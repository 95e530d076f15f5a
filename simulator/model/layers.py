"""The operators of a decoder on one tensor-parallel rank, with their repeat counts in the whole model.

Fusion follows vLLM v1: QKV in one GEMM, gate and up in one GEMM, residual addition inside the norm, flash attention.
The residual stream, norms, biases, embedding and head stay in 16 bits whatever the weights' format, as vLLM keeps them.
"""

from __future__ import annotations

from math import inf

from simulator.design.records.model import Architecture, PartName, Precision
from simulator.inputs.errors import InputError
from simulator.model.layer_types import untimed
from simulator.model.operators import (
    Collective,
    DecodeAttention,
    Gemm,
    GroupedGemm,
    NamedOperator,
    Operator,
    Part,
    PrefillAttention,
    Vector,
)
from simulator.model.sharding import shard

STREAM_BYTES = 2  # one element of the residual stream
LOGIT_BYTES = 4  # the sampler works on fp32 logits (vllm/v1/sample/sampler.py)

# Operations per element, counted from the definitions.
_ADD_RMS_NORM = 5.0  # add residual, square, accumulate, scale by rsqrt, weight
_ADD_LAYER_NORM = 8.0  # add residual, sum, subtract mean, square, accumulate, scale, weight, bias
_ROTARY = 3.0  # two products and a sum
_GATED_ACTIVATION = 4.0  # silu(x) * y = x / (1 + exp(-x)) * y, and one exp
_PLAIN_ACTIVATION = 8.0  # tanh-approximated GELU: cubic, tanh from one exp, product
_SAMPLING = 4.0  # scale, running maximum, subtract, sum; and one exp


def operators(arch: Architecture, precision: Precision, tensor: int, pipeline: int = 1, *,
              expert_parallel: bool = False, data: int = 1) -> list[NamedOperator]:
    """Every operator of one forward pass, for one of `tensor` ranks; blocks of all stages are counted in `repeats`.

    `checks.violations(arch, tensor, pipeline)` must be empty. Collectives appear only where `tensor` > 1, transfers
    between stages only where `pipeline` > 1. data: engines, each of `tensor` ranks, that share one set of experts (vLLM's
    data parallelism of a mixture of experts); the operators of part `gathered` then work on the rows of all engines.
    Raises InputError where a kind of layer has no operators yet.
    """
    if unusual := untimed(arch):
        raise InputError(f"{arch.name} cannot be timed yet: {', '.join(unusual)}; its parameters and KV cache can be sized",
                         key="model")
    return [*_embedding(arch, precision, tensor), *_before_attention(arch, precision, tensor),
            *_attention(arch, precision, tensor), *_after_attention(arch, precision, tensor, expert_parallel, data),
            *_between_stages(arch, tensor, pipeline), *_head(arch, precision, tensor)]


def _gemm(n: int, k: int, precision: Precision, part: PartName) -> Gemm:
    found = precision.of(part)
    return Gemm(n=n, k=k, weight_bits=found.weight_bits, activation_bits=found.activation_bits)


def _unquantised_gemm(n: int, k: int) -> Gemm:
    return Gemm(n=n, k=k, weight_bits=16, activation_bits=16)


def _elementwise(width: int, flops: float, exps: float = 0.0, reads: float = 1.0, writes: float = 1.0) -> Vector:
    return Vector(width=width, flops_per_element=flops, exps_per_element=exps,
                  read_bytes_per_row=reads * width * STREAM_BYTES, write_bytes_per_row=writes * width * STREAM_BYTES)


def _norm(arch: Architecture, width: int, residual: bool) -> Vector:
    """A norm; with `residual` it also reads the residual, adds it and writes the sum back."""
    flops = _ADD_RMS_NORM if arch.norm == "rms" else _ADD_LAYER_NORM
    passes = 2.0 if residual else 1.0
    return _elementwise(width, flops if residual else flops - 1, reads=passes, writes=passes)


def _all_reduce(name: str, arch: Architecture, tensor: int, repeats: int, part: str) -> list[NamedOperator]:
    if tensor == 1:
        return []
    traffic = Collective(kind="all_reduce", ranks=tensor, bytes_per_row=arch.hidden * STREAM_BYTES)
    return [NamedOperator(name, traffic, repeats, part)]  # type: ignore[arg-type]


def _embedding(arch: Architecture, precision: Precision, tensor: int) -> list[NamedOperator]:
    width = arch.embedding_dim or arch.hidden
    found = [NamedOperator("embedding", _elementwise(width, 0.0), 1, "embed")]
    if arch.embedding_dim:
        found.append(NamedOperator("embedding_projection", _unquantised_gemm(arch.hidden, width), 1, "embed"))
    if arch.learned_positions:
        found.append(NamedOperator("position_embedding", _elementwise(arch.hidden, 1.0, reads=2.0), 1, "embed"))
    return found + _all_reduce("embedding_all_reduce", arch, tensor, 1, "embed")


def _before_attention(arch: Architecture, precision: Precision, tensor: int) -> list[NamedOperator]:
    part = shard(arch, tensor)
    q, kv = part.q_width(arch.head_dim), part.kv_width(arch.head_dim)
    cache_write = Vector(width=2 * kv, flops_per_element=0.0, exps_per_element=0.0,
                         read_bytes_per_row=2 * kv * STREAM_BYTES, write_bytes_per_row=2 * kv * precision.kv_bits / 8)
    found: list[tuple[str, Gemm | Vector]] = [
        ("attention_norm", _norm(arch, arch.hidden, residual=True)),
        ("qkv", _gemm(q + 2 * kv, arch.hidden, precision, "attention"))]
    if arch.qk_norm:
        found.append(("qk_norm", _norm(arch, q + kv, residual=False)))
    if not arch.learned_positions:
        found.append(("rotary", _elementwise(q + kv, _ROTARY)))
    found.append(("kv_cache_write", cache_write))
    return [NamedOperator(name, operator, arch.layers, "before") for name, operator in found]


def _attention(arch: Architecture, precision: Precision, tensor: int) -> list[NamedOperator]:
    part = shard(arch, tensor)
    shape = (part.heads, part.kv_heads, arch.head_dim, precision.kv_bits, precision.of("attention").activation_bits)
    return [NamedOperator("prefill_attention", PrefillAttention(*shape), arch.layers, "attention"),
            NamedOperator("decode_attention", DecodeAttention(*shape), arch.layers, "attention")]


def _after_attention(arch: Architecture, precision: Precision, tensor: int, expert_parallel: bool,
                     data: int) -> list[NamedOperator]:
    part = shard(arch, tensor)
    output = ("output", _gemm(arch.hidden, part.q_width(arch.head_dim), precision, "attention_output"))
    norm = ("mlp_norm", _norm(arch, arch.hidden, residual=True))
    dense = arch.layers - arch.expert_layers
    found = [*_named(arch.layers, output), *_all_reduce("attention_all_reduce", arch, tensor, arch.layers, "after"),
             *_named(arch.layers, norm)]
    if dense:
        found += _named(dense, *_mlp(arch, precision, part.intermediate, "mlp"))
    if arch.experts:
        found += _named(arch.expert_layers, *_experts(arch, precision, tensor * data, expert_parallel),
                        part="after" if data == 1 else "gathered")
    if arch.shared_intermediate:
        found += _named(arch.expert_layers, *_mlp(arch, precision, arch.shared_intermediate // tensor, "shared_experts", "shared_"))
    if arch.experts and data > 1:
        found += _named(arch.expert_layers, *_exchanged(arch, data), part="gathered")
    return found + _all_reduce("mlp_all_reduce", arch, tensor, arch.layers, "after")


def _named(repeats: int, *pairs: tuple[str, Operator], part: Part = "after") -> list[NamedOperator]:
    return [NamedOperator(name, operator, repeats, part) for name, operator in pairs]


def _exchanged(arch: Architecture, data: int) -> list[tuple[str, Operator]]:
    """How engines that share experts bring their rows together and take their results back, as vLLM's default backend
    does (device_communicators/all2all.py, AgRsAll2AllManager): an all-gather of hidden states, router weights (fp32) and
    expert numbers (int32), and a reduce-scatter of the experts' outputs."""
    moved = float(arch.hidden * STREAM_BYTES)
    return [("experts_dispatch", Collective("all_gather", data, moved + arch.experts_per_token * (4 + 4))),
            ("experts_combine", Collective("reduce_scatter", data, moved))]


def _mlp(arch: Architecture, precision: Precision, width: int, part: PartName,
         prefix: str = "") -> list[tuple[str, Operator]]:
    """An MLP of (a rank's share of) `width`."""
    if arch.gated_mlp:
        up = ("gate_up", _gemm(2 * width, arch.hidden, precision, part))
        activation = _elementwise(width, _GATED_ACTIVATION, exps=1.0, reads=2.0)
    else:
        up = ("up", _gemm(width, arch.hidden, precision, part))
        activation = _elementwise(width, _PLAIN_ACTIVATION, exps=1.0)
    return [(prefix + up[0], up[1]), (prefix + "activation", activation),
            (prefix + "down", _gemm(arch.hidden, width, precision, part))]


def _experts(arch: Architecture, precision: Precision, ranks: int, expert_parallel: bool) -> list[tuple[str, Operator]]:
    """A mixture of experts as vLLM's fused MoE runs it: router (16 bits, on every rank), choice of experts, both grouped
    GEMMs with the activation between them, weighted sum. Every rank sees all tokens; experts are cut along their width, or
    dealt out whole (`expert_parallel`), and the all-reduce after the block adds up either way."""
    local, width = (arch.experts // ranks, arch.expert_intermediate) if expert_parallel else (
        arch.experts, arch.expert_intermediate // ranks)
    visits = arch.experts_per_token * local / arch.experts  # of a token, on this rank
    stored = precision.of("experts")

    def grouped(n: int, k: int) -> GroupedGemm:
        return GroupedGemm(n, k, local, arch.experts, arch.experts_per_token, stored.weight_bits, stored.activation_bits,
                           arch.expert_evenness or inf)

    moved = arch.hidden * STREAM_BYTES
    gates = 2 if arch.gated_mlp else 1
    found: list[tuple[str, Operator]] = [
        ("router", _unquantised_gemm(arch.experts, arch.hidden)),
        ("routing", _elementwise(arch.experts, _SAMPLING, exps=1.0)),  # softmax and the largest few
        ("experts_up", grouped(gates * width, arch.hidden)),
        ("experts_activation", Vector(width, _GATED_ACTIVATION * visits, visits, visits * gates * width * STREAM_BYTES,
                                      visits * width * STREAM_BYTES)),
        ("experts_down", grouped(arch.hidden, width)),
        ("experts_sum", Vector(arch.hidden, 2.0 * visits, 0.0, visits * moved, moved))]
    return found


def _between_stages(arch: Architecture, tensor: int, pipeline: int) -> list[NamedOperator]:
    """vLLM sends hidden states, and the residual where it is kept apart (rms models); every rank sends its slice to its
    peer and the receiving ranks gather the slices (parallel_state.py, send_tensor_dict with all_gather_group)."""
    if pipeline == 1:
        return []
    tensors = 2 if arch.norm == "rms" else 1
    row_bytes = float(tensors * arch.hidden * STREAM_BYTES)
    found = [NamedOperator("stage_send", Collective("p2p", 2, row_bytes / tensor), pipeline - 1, "send")]
    if tensor > 1:
        found.append(NamedOperator("stage_gather", Collective("all_gather", tensor, row_bytes), pipeline - 1, "send"))
    return found


def _head(arch: Architecture, precision: Precision, tensor: int) -> list[NamedOperator]:
    """Final norm, logits and sampling of the last token of every sequence. vLLM norms all tokens; rows are independent,
    so only those that the head reads are priced (one norm of 2 x layers, below 0.1 % of a step)."""
    vocab = shard(arch, tensor).vocab
    width = arch.embedding_dim or arch.hidden
    found: list[tuple[str, Gemm | Vector | Collective]] = [("final_norm", _norm(arch, arch.hidden, residual=True))]
    if arch.embedding_dim:
        found.append(("head_projection", _unquantised_gemm(width, arch.hidden)))
    found.append(("lm_head", _gemm(vocab, width, precision, "head")))
    if tensor > 1:
        found.append(("logits_all_gather", Collective("all_gather", tensor, float(vocab * tensor * STREAM_BYTES))))
    # 16-bit logits are read and kept as fp32, then read for the maximum and again for the probabilities
    found.append(("sampling", Vector(width=arch.vocab, flops_per_element=_SAMPLING, exps_per_element=1.0,
                                     read_bytes_per_row=arch.vocab * (STREAM_BYTES + 2.0 * LOGIT_BYTES),
                                     write_bytes_per_row=arch.vocab * LOGIT_BYTES)))
    return [NamedOperator(name, operator, 1, "head") for name, operator in found]
