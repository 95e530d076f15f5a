"""The operators of a decoder on one tensor-parallel rank, with their repeat counts in the whole model.

Fusion follows vLLM v1: QKV in one GEMM, gate and up in one GEMM, residual addition inside the norm, flash attention.
The residual stream, norms, biases, embedding and head stay in 16 bits whatever the weights' format, as vLLM keeps them.
"""

from __future__ import annotations

from math import inf

from simulator.design.records.model import Architecture, Precision
from simulator.model.layered import layered
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
from simulator.model.pieces import (
    GATED_ACTIVATION,
    ROTARY,
    SAMPLING,
    STREAM_BYTES,
    all_reduce,
    attention_bits,
    cache_write,
    elementwise,
    exchanged,
    gemm,
    mlp,
    norm,
    scales_of,
    unquantised_gemm,
)
from simulator.model.sharding import shard

LOGIT_BYTES = 4  # the sampler works on fp32 logits (vllm/v1/sample/sampler.py)


def operators(arch: Architecture, precision: Precision, tensor: int, pipeline: int = 1, *,
              expert_parallel: bool = False, data: int = 1) -> list[NamedOperator]:
    """Every operator of one forward pass, for one of `tensor` ranks; blocks of all stages are counted in `repeats`.

    `checks.violations(arch, tensor, pipeline)` must be empty. Collectives appear only where `tensor` > 1, transfers
    between stages only where `pipeline` > 1. data: engines, each of `tensor` ranks, that share one set of experts (vLLM's
    data parallelism of a mixture of experts); the operators of part `gathered` then work on the rows of all engines.
    """
    if arch.layer_types is not None:
        return [*_embedding(arch, precision, tensor), *layered(arch, precision, tensor, expert_parallel=expert_parallel, data=data),
                *_between_stages(arch, tensor, pipeline), *_head(arch, precision, tensor)]
    return [*_embedding(arch, precision, tensor), *_before_attention(arch, precision, tensor),
            *_attention(arch, precision, tensor), *_after_attention(arch, precision, tensor, expert_parallel, data),
            *_between_stages(arch, tensor, pipeline), *_head(arch, precision, tensor)]


def _embedding(arch: Architecture, precision: Precision, tensor: int) -> list[NamedOperator]:
    width = arch.embedding_dim or arch.hidden
    found = [NamedOperator("embedding", elementwise(width, 0.0), 1, "embed")]
    if arch.embedding_dim:
        found.append(NamedOperator("embedding_projection", unquantised_gemm(arch.hidden, width), 1, "embed"))
    if arch.learned_positions:
        found.append(NamedOperator("position_embedding", elementwise(arch.hidden, 1.0, reads=2.0), 1, "embed"))
    return found + all_reduce("embedding_all_reduce", arch, tensor, 1, "embed")


def _before_attention(arch: Architecture, precision: Precision, tensor: int) -> list[NamedOperator]:
    part = shard(arch, tensor)
    q, kv = part.q_width(arch.head_dim), part.kv_width(arch.head_dim)
    found: list[tuple[str, Gemm | Vector]] = [
        ("attention_norm", norm(arch, arch.hidden, residual=True)),
        ("qkv", gemm(q + 2 * kv, arch.hidden, precision, "attention"))]
    if arch.qk_norm:
        found.append(("qk_norm", norm(arch, q + kv, residual=False)))
    if not arch.learned_positions:
        found.append(("rotary", elementwise(q + kv, ROTARY)))
    found.append(("kv_cache_write", cache_write(2 * kv, precision.kv_bits)))
    return [NamedOperator(name, operator, arch.layers, "before") for name, operator in found]


def _attention(arch: Architecture, precision: Precision, tensor: int) -> list[NamedOperator]:
    part = shard(arch, tensor)
    shape = (part.heads, part.kv_heads, arch.head_dim, precision.kv_bits, attention_bits(precision))
    return [NamedOperator("prefill_attention", PrefillAttention(*shape), arch.layers, "attention"),
            NamedOperator("decode_attention", DecodeAttention(*shape), arch.layers, "attention")]


def _after_attention(arch: Architecture, precision: Precision, tensor: int, expert_parallel: bool,
                     data: int) -> list[NamedOperator]:
    part = shard(arch, tensor)
    output = ("output", gemm(arch.hidden, part.q_width(arch.head_dim), precision, "attention_output"))
    mlp_norm = ("mlp_norm", norm(arch, arch.hidden, residual=True))
    dense = arch.layers - arch.expert_layers
    found = [*_named(arch.layers, output), *all_reduce("attention_all_reduce", arch, tensor, arch.layers, "after"),
             *_named(arch.layers, mlp_norm)]
    if dense:
        found += _named(dense, *mlp(arch.hidden, part.intermediate, bool(arch.gated_mlp), precision, "mlp"))
    if arch.experts:
        found += _named(arch.expert_layers, *_experts(arch, precision, tensor * data, expert_parallel),
                        part="after" if data == 1 else "gathered")
    if arch.shared_intermediate:
        found += _named(arch.expert_layers, *mlp(arch.hidden, arch.shared_intermediate // tensor, bool(arch.gated_mlp), precision,
                                                "shared_experts", "shared_"))
    if arch.experts and data > 1:
        found += _named(arch.expert_layers, *exchanged(arch, data, arch.experts_per_token), part="gathered")
    return found + all_reduce("mlp_all_reduce", arch, tensor, arch.layers, "after")


def _named(repeats: int, *pairs: tuple[str, Operator], part: Part = "after") -> list[NamedOperator]:
    return [NamedOperator(name, operator, repeats, part) for name, operator in pairs]


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
                           arch.expert_evenness or inf, scales_of(stored))

    moved = arch.hidden * STREAM_BYTES
    gates = 2 if arch.gated_mlp else 1
    found: list[tuple[str, Operator]] = [
        ("router", unquantised_gemm(arch.experts, arch.hidden)),
        ("routing", elementwise(arch.experts, SAMPLING, exps=1.0)),  # softmax and the largest few
        ("experts_up", grouped(gates * width, arch.hidden)),
        ("experts_activation", Vector(width, GATED_ACTIVATION * visits, visits, visits * gates * width * STREAM_BYTES,
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
    found: list[tuple[str, Gemm | Vector | Collective]] = [("final_norm", norm(arch, arch.hidden, residual=True))]
    if arch.embedding_dim:
        found.append(("head_projection", unquantised_gemm(width, arch.hidden)))
    found.append(("lm_head", gemm(vocab, width, precision, "head")))
    if tensor > 1:
        found.append(("logits_all_gather", Collective("all_gather", tensor, float(vocab * tensor * STREAM_BYTES))))
    # 16-bit logits are read and kept as fp32, then read for the maximum and again for the probabilities
    found.append(("sampling", Vector(width=arch.vocab, flops_per_element=SAMPLING, exps_per_element=1.0,
                                     read_bytes_per_row=arch.vocab * (STREAM_BYTES + 2.0 * LOGIT_BYTES),
                                     write_bytes_per_row=arch.vocab * LOGIT_BYTES)))
    return [NamedOperator(name, operator, 1, "head") for name, operator in found]
