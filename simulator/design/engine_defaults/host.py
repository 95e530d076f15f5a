"""Host time of a step by the engine's record, in the terms that step tables are made of."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.design.design import Design
from simulator.design.records.engine import EngineRecord, Launches
from simulator.design.records.hardware import Host
from simulator.design.records.layers import BesideAttention, DenseMlp, ExpertsMlp, LatentAttention, LayerType, NoAttention
from simulator.design.records.model import Architecture


def host_of(design: Design) -> Host:
    """Host times of the design's engine; those that its hardware file gives where it names none."""
    if design.engine is None:
        return design.hardware.host
    host = design.engine.host
    parts = (host.schedule, host.update, host.worker)
    return Host.model_construct(
        step_s=sum(part.step_s for part in parts), sequence_s=sum(part.sequence_s for part in parts),
        device_step_s=host.exposed.step_s, device_sequence_s=host.exposed.sequence_s,
        graphless_layer_s=launches_of_a_layer(design, design.engine) * host.launches.launch_s)


def launches_of_a_layer(design: Design, record: EngineRecord) -> float:
    """Kernels of a decoder layer, mean over the model's layers, where no CUDA graph covers a step."""
    count, model = record.host.launches, design.model
    collectives = 2 * count.collective if design.parallelism.tensor > 1 else 0
    quantises = count.quantise if design.precision.activation_bits == 8 else 0
    if model.layer_types is None:
        mlp = count.dense_mlp * (model.layers - model.expert_layers) + count.experts_mlp * model.expert_layers
        return count.attention + mlp / model.layers + collectives + quantises
    return sum(_launches(kind, count) for kind in _in_order(model)) / model.layers + collectives + quantises


def _in_order(model: Architecture) -> Iterator[LayerType]:
    """The type of every layer of a model that lists its layer types."""
    named = {kind.name: kind for kind in model.layer_types or ()}
    return (named[name] for run in model.order or () for name in run.types * run.repeat)


def _launches(kind: LayerType, count: Launches) -> int:
    """Kernels of one layer, collectives and quantisation apart. Recurrent mixers are taken to launch as many as attention."""
    found = {LatentAttention: count.latent_attention, BesideAttention: 2 * count.attention, NoAttention: 0}.get(
        type(kind.attention), count.attention)
    return found + {DenseMlp: count.dense_mlp, ExpertsMlp: count.experts_mlp}.get(type(kind.mlp), 0)
