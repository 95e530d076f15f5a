"""The model record: a decoder-only transformer's dimensions, and the precisions it runs in."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from simulator.design.records.base import Count, Positive, PositiveInt, Record

Dtype = Literal["fp16", "bf16", "fp8", "int8", "int4"]

# Bits of one element as stored (scales of quantisation groups are not counted).
BITS: dict[str, int] = {"fp16": 16, "bf16": 16, "fp8": 8, "int8": 8, "int4": 4}


class Architecture(Record):
    """Dimensions of a Llama/Mistral/Qwen/GPT/OPT-like decoder, with or without experts, as in its Hugging Face config.json."""

    name: str
    source: str = ""
    layers: PositiveInt
    hidden: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    intermediate: PositiveInt
    gated_mlp: bool
    vocab: PositiveInt
    max_positions: PositiveInt
    tied_embeddings: bool = False
    learned_positions: bool = False
    norm: Literal["rms", "layer"] = "rms"
    qk_norm: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    embedding_dim: PositiveInt | None = None  # where it differs from hidden (OPT-350M's word_embed_proj_dim)

    # mixture of experts: `experts` of width `expert_intermediate` in place of the MLP of width `intermediate`, of which each
    # token visits `experts_per_token`, and a dense MLP of width `shared_intermediate` that every token visits (0: none); the
    # first `dense_layers` blocks keep the plain MLP
    experts: Count = 0
    experts_per_token: Count = 0
    expert_intermediate: Count = 0
    shared_intermediate: Count = 0
    dense_layers: Count = 0
    # shape of the gamma distribution of the experts' popularity (mean 1; variance 1 / shape): a router's habits decide how
    # many experts a batch wakes (simulator.devices.experts). None: all are picked alike
    expert_evenness: Positive | None = None

    @model_validator(mode="after")
    def _experts_complete(self) -> Architecture:
        if self.experts and not (0 < self.experts_per_token <= self.experts and self.expert_intermediate):
            raise ValueError("a mixture of experts needs expert_intermediate, and experts_per_token between 1 and experts")
        if not self.experts and (self.experts_per_token or self.expert_intermediate or self.shared_intermediate
                                 or self.dense_layers):
            raise ValueError("experts is missing (experts_per_token, expert_intermediate, shared_intermediate and dense_layers "
                             "describe a mixture of experts)")
        if self.experts and self.dense_layers >= self.layers:
            raise ValueError("dense_layers leaves no block with experts")
        return self

    @property
    def expert_layers(self) -> int:
        """Decoder blocks with a mixture of experts."""
        return self.layers - self.dense_layers if self.experts else 0

    @model_validator(mode="after")
    def _heads_divide(self) -> Architecture:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        return self


class Precision(Record):
    """Number formats of weights, activations (matrix inputs) and the KV cache.

    What is assumed of them: matrix rates follow the wider of the two operands, 8-bit ones run at the device's 8-bit rate
    and int4 weights are widened on the way (weight-only quantisation: fewer bytes, no more FLOP/s). A GPU's 8-bit GEMM
    is preceded by a kernel that quantises its 16-bit inputs (`quantise`); an NPU quantises in its vector unit on the way
    out, for free. Attention runs at the 8-bit rate only where both queries and cache are 8 bits wide. Residual stream,
    norms, embedding, head and results are 16 bits wide. Scales of groups are not counted (AWQ or GPTQ with groups of 128:
    3 % of int4 weights). Accuracy of the model's answers is not predicted.
    """

    weights: Dtype = "bf16"
    activations: Dtype = "bf16"
    kv: Dtype = "bf16"

    @property
    def weight_bits(self) -> int:
        return BITS[self.weights]

    @property
    def activation_bits(self) -> int:
        return BITS[self.activations]

    @property
    def kv_bits(self) -> int:
        return BITS[self.kv]
