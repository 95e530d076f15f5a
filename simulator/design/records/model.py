"""The model record: a decoder\'s dimensions, by flat keys or by layer types, and the precisions it runs in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from simulator.design.records.base import Count, Positive, PositiveInt, Record, Sequence
from simulator.design.records.layers import LayerType, Run

Dtype = Literal["fp16", "bf16", "fp8", "int8", "int4", "fp8_block", "nvfp4", "mxfp4", "nf4"]

# Bits of one element as the device reads it, without scales.
BITS: dict[str, int] = {"fp16": 16, "bf16": 16, "fp8": 8, "int8": 8, "int4": 4, "fp8_block": 8, "nvfp4": 4, "mxfp4": 4, "nf4": 4}

# Bits of one weight as stored, scales included, where the format itself says how many elements share one.
STORED_BITS: dict[str, float] = {
    **BITS,
    "fp8_block": 8 + 32 / (128 * 128),  # an fp32 scale per 128 x 128 tile (DeepSeek-V3 report, section 3.3)
    "nvfp4": 4 + 8 / 16,  # an e4m3 scale per 16 elements (NVIDIA, "Introducing NVFP4")
    "mxfp4": 4 + 8 / 32,  # an e8m0 scale per 32 elements (OCP Microscaling Formats 1.0)
    "nf4": 4 + 32 / 64,  # an fp32 maximum per 64 elements (bitsandbytes)
}

PartName = Literal["attention", "attention_output", "mlp", "experts", "shared_experts", "head"]


class PartPrecision(Record):
    """How one part of the model is stored and multiplied. kept_layers: layers (from 0) whose share of it stays in 16 bits."""

    weights: Dtype
    activations: Dtype = "bf16"
    stored_bits: Positive | None = None  # of a weight, scales and zero points included, where the format does not say
    kept_layers: Annotated[tuple[Count, ...], Sequence] = ()

    @property
    def weight_bits(self) -> int:
        return BITS[self.weights]

    @property
    def activation_bits(self) -> int:
        return BITS[self.activations]

    def stored(self, layer: int | None = None) -> float:
        """Bits of a weight in memory; of layer number `layer` where it matters."""
        if layer is not None and layer in self.kept_layers:
            return 16.0
        return self.stored_bits or STORED_BITS[self.weights]


SIXTEEN_BITS = PartPrecision(weights="bf16")


class Precision(Record):
    """Number formats of weights, activations (matrix inputs) and the KV cache.

    A checkpoint's own formats (its `quantization_config`) are the default; what a design says overrides them, and a design that
    says `weights` or `activations` overrides them in every part. A part that says nothing is as `weights` and `activations`,
    the head in 16 bits.

    What is assumed of them: matrix rates follow the wider of the two operands, 8-bit ones run at the device's 8-bit rate
    and int4 weights are widened on the way (weight-only quantisation: fewer bytes, no more FLOP/s), as is what a GPU has no
    unit for. A GPU's 8-bit GEMM is preceded by a kernel that quantises its 16-bit inputs (`quantise`); an NPU quantises in
    its vector unit on the way out, for free. Attention runs at the 8-bit rate only where both queries and cache are 8 bits
    wide. Residual stream, norms, embedding, router and results are 16 bits wide. Scales of groups count where the format
    says how many elements share one (nvfp4, mxfp4, fp8_block, nf4) or `stored_bits` is given, as a checkpoint's are.
    Accuracy of the model's answers is not predicted.
    """

    weights: Dtype = "bf16"
    activations: Dtype = "bf16"
    kv: Dtype = "bf16"
    stored_bits: Positive | None = None  # of `weights`, scales and zero points included, where the format does not say
    attention: PartPrecision | None = None
    attention_output: PartPrecision | None = None  # the projection after attention, where it is not as `attention`
    mlp: PartPrecision | None = None  # dense MLPs
    experts: PartPrecision | None = None
    shared_experts: PartPrecision | None = None
    head: PartPrecision | None = None

    @property
    def weight_bits(self) -> int:
        return BITS[self.weights]

    @property
    def activation_bits(self) -> int:
        return BITS[self.activations]

    @property
    def kv_bits(self) -> int:
        return BITS[self.kv]

    def of(self, part: PartName) -> PartPrecision:
        """How `part` is stored and multiplied."""
        own: PartPrecision | None = getattr(self, part)
        if own is None and part == "attention_output":
            own = self.attention
        if own is None and part == "head":
            own = SIXTEEN_BITS
        return own or PartPrecision(weights=self.weights, activations=self.activations, stored_bits=self.stored_bits)

    def over(self, checkpoint: Precision) -> Precision:
        """What was written in this record laid over the formats of a checkpoint."""
        written = {name: getattr(self, name) for name in self.model_fields_set}
        base = {name: getattr(checkpoint, name) for name in checkpoint.model_fields_set}
        if "weights" in written or "activations" in written:
            base = {"kv": checkpoint.kv}
        return Precision(**{**base, **written})


class Architecture(Record):
    """A decoder's dimensions.

    Flat keys describe a Llama/Mistral/Qwen/GPT/OPT-like decoder, with or without experts, whose layers all have the same full
    attention. A model of other or of several kinds of layers gives `layer_types` and their `order` in place of heads,
    kv_heads, head_dim, intermediate, gated_mlp and the keys of experts.
    """

    name: str
    source: str = ""
    layers: PositiveInt
    hidden: PositiveInt
    heads: Count = 0
    kv_heads: Count = 0
    head_dim: Count = 0
    intermediate: Count = 0
    gated_mlp: bool | None = None
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

    layer_types: Annotated[tuple[LayerType, ...], Sequence] | None = None
    order: Annotated[tuple[Run, ...], Sequence] | None = None  # of the layer types, by name, from the first layer to the last
    # parameters that the other keys miss (OPT's two spare positions, a head's bias), or count too many where negative (one norm
    # where two are usual); on every rank, in 16 bits
    other_parameters: int | None = None
    vision_parameters: PositiveInt | None = None  # of a vision tower and its projector, in 16 bits
    checkpoint: Precision | None = None  # the checkpoint's own formats: the design's precision where it says nothing

    @model_validator(mode="after")
    def _flat_or_layered(self) -> Architecture:
        flat: dict[str, object] = {name: getattr(self, name) or None for name in ("heads", "kv_heads", "head_dim", "intermediate")}
        flat["gated_mlp"] = self.gated_mlp
        if (self.layer_types is None) != (self.order is None):
            raise ValueError("layer_types and order are given together")
        if self.layer_types is None or self.order is None:
            if missing := [name for name, value in flat.items() if value is None]:
                raise ValueError(f"{missing[0]} is missing")
            return self
        if given := [name for name, value in flat.items() if value is not None]:
            raise ValueError(f"{given[0]} is said by layer_types, leave it out")
        names = [kind.name for kind in self.layer_types]
        if len(set(names)) < len(names):
            raise ValueError("two layer_types have the same name")
        ordered = [name for run in self.order for name in run.types * run.repeat]
        if unknown := set(ordered) - set(names):
            raise ValueError(f"order names '{min(unknown)}', which is not among layer_types")
        if len(ordered) != self.layers:
            raise ValueError(f"order lists {len(ordered)} layers, layers says {self.layers}")
        return self

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
        """Decoder blocks with a mixture of experts, of a model with flat keys."""
        return self.layers - self.dense_layers if self.experts else 0

    def vectors(self, *, routed: bool, tensor: int = 1) -> int:
        """Norms and biases of a layer of a model with flat keys, with experts or not, on one of `tensor` ranks."""
        q, kv = self.heads // tensor * self.head_dim, max(1, self.kv_heads // tensor) * self.head_dim
        ups = 2 if self.gated_mlp else 1
        width = self.intermediate // tensor
        if routed:
            width = self.experts * self.expert_intermediate // tensor + self.shared_intermediate // tensor
        found = 2 * (self.hidden if self.norm == "rms" else 2 * self.hidden)
        if self.qkv_bias:
            found += q + 2 * kv
        if self.output_bias:
            found += self.hidden
        if self.mlp_bias:
            found += ups * width + self.hidden
        if self.qk_norm:
            found += 2 * self.head_dim
        return found

    @model_validator(mode="after")
    def _heads_divide(self) -> Architecture:
        if self.kv_heads and self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        return self
