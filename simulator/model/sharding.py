"""The sharding of a model by tensor and pipeline parallelism, as vLLM v1 does it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator.design.records.model import Architecture

# vllm/model_executor/layers/vocab_parallel_embedding.py: DEFAULT_VOCAB_PADDING_SIZE
VOCAB_PADDING = 64


@dataclass(frozen=True)
class Shard:
    """One tensor-parallel rank's share of a decoder block, of the embedding and of the head."""

    heads: int
    kv_heads: int  # replicated (at least 1) where there are more ranks than KV heads
    intermediate: int
    vocab: int  # padded vocabulary / ranks

    def q_width(self, head_dim: int) -> int:
        return self.heads * head_dim

    def kv_width(self, head_dim: int) -> int:
        """Elements of K (or of V) of one token in one layer."""
        return self.kv_heads * head_dim


def shard(arch: Architecture, tensor: int) -> Shard:
    """A rank's share under tensor parallelism; `checks.violations` must be empty."""
    padded = math.lcm(VOCAB_PADDING, tensor)
    return Shard(heads=arch.heads // tensor, kv_heads=max(1, arch.kv_heads // tensor),
                 intermediate=arch.intermediate // tensor, vocab=-(-arch.vocab // padded) * padded // tensor)


def stage_layers(layers: int, pipeline: int) -> tuple[int, ...]:
    """Decoder blocks per pipeline stage.

    As vLLM (vllm/distributed/utils.py, get_pp_indices): an equal share each, and the remainder one each to the stages
    before the last, from the back, since the last stage also holds the norm and the head.
    """
    share, rest = divmod(layers, pipeline)
    stages = [share] * pipeline
    for i in range(rest):
        stages[pipeline - 2 - i] += 1
    return tuple(stages)
