"""A GPU design as `vllm serve` commands. Flags and their meaning: vLLM's engine arguments
(https://docs.vllm.ai/en/latest/configuration/engine_args.html)."""

from __future__ import annotations

import re
import shlex

from simulator.design import Design
from simulator.inputs.errors import InputError

FIRST_PORT = 8000  # vLLM's default; further replicas take the ports after it

_REPOSITORY = re.compile(r"config\.json of (\S+/\S+) on Hugging Face")
_DTYPES = {"bf16": "bfloat16", "fp16": "float16"}


def vllm_commands(design: Design, model: str | None = None) -> str:
    """Shell text that starts every replica, with comments on what it assumes.

    model: Hugging Face repository or local folder; by default the one that the model's `source` names. Raises InputError
    where vLLM has no flags that mean this design.
    """
    _check(design)
    p, s = design.parallelism, design.serving
    flags = [*_precision(design, given=model is not None),
             f"--tensor-parallel-size {p.tensor}", f"--pipeline-parallel-size {p.pipeline}",
             f"--max-num-seqs {s.max_num_seqs}", f"--max-num-batched-tokens {s.max_num_batched_tokens}",
             f"--max-model-len {design.model.max_positions if s.max_model_len == 'auto' else s.max_model_len}",
             f"--block-size {s.block_size}", f"--gpu-memory-utilization {s.memory_utilization:g}",
             _switch("enable-chunked-prefill", s.enable_chunked_prefill),
             _switch("enable-prefix-caching", s.enable_prefix_caching),
             _switch("async-scheduling", s.async_scheduling), f"--scheduling-policy {s.policy}"]
    if p.expert_parallel and design.model.experts:
        flags.append("--enable-expert-parallel")
    if s.num_gpu_blocks != "auto":
        flags.append(f"--num-gpu-blocks-override {s.num_gpu_blocks}")
    if s.long_prefill_token_threshold:
        flags.append(f"--long-prefill-token-threshold {s.long_prefill_token_threshold}")
    if not s.cuda_graphs:
        flags.append("--enforce-eager")
    if not s.scheduler_reserve_full_isl:
        flags.append("--no-scheduler-reserve-full-isl")
    per_replica = p.tensor * p.pipeline
    if per_replica > design.hardware.max_devices_per_node:
        flags.append("--distributed-executor-backend ray")
    start = f"vllm serve {shlex.quote(model or _repository(design))}"
    return "\n".join([*(f"# {note}" for note in _notes(design)), *_replicas(design, start, flags)]) + "\n"


def _check(design: Design) -> None:
    hardware, serving = design.hardware, design.serving
    if hardware.gpu is None:
        raise InputError(f"'{hardware.name}' is not a GPU, so that vLLM cannot run on it; `--to sheet` describes the "
                         "hardware, `--to yaml` the whole design", key="hardware")
    if serving.preemption == "swap":
        raise InputError("vLLM v1 recomputes preempted requests and cannot swap them", key="serving.preemption")
    if serving.watermark:
        raise InputError("no flag of `vllm serve` sets it; only 0 can be exported", key="serving.watermark")


def _repository(design: Design) -> str:
    found = _REPOSITORY.search(design.model.source)
    if found is None:
        raise InputError(f"it is not known where the weights of '{design.model.name}' are; name a Hugging Face repository "
                         "or a folder with --model", key="model")
    return found[1]


def _precision(design: Design, *, given: bool) -> list[str]:
    """Flags of the number formats. `given`: the user named a checkpoint, which may be quantised already."""
    weights, activations, kv = design.precision.weights, design.precision.activations, design.precision.kv
    if kv not in ("fp8", "bf16", "fp16") or (kv in _DTYPES and activations in _DTYPES and kv != activations):
        raise InputError(f"vLLM has no {kv} KV cache beside {activations} activations", key="precision.kv")
    wide = activations if activations in _DTYPES else kv if kv in _DTYPES else "bf16"
    flags = [f"--dtype {_DTYPES[wide]}", f"--kv-cache-dtype {'fp8' if kv == 'fp8' else 'auto'}"]
    if weights in _DTYPES:
        if activations != weights:
            raise InputError(f"vLLM does not run {weights} weights with {activations} activations",
                             key="precision.activations")
        return flags
    if (weights, activations) == ("fp8", "fp8"):
        return flags if given else [*flags, "--quantization fp8"]
    if not given:
        raise InputError(f"{weights} weights with {activations} activations need a checkpoint that is quantised so; name "
                         "one with --model (vLLM reads the method from it)", key="precision.weights")
    return flags


def _notes(design: Design) -> list[str]:
    p, hardware = design.parallelism, design.hardware
    notes = [f"{p.devices} x {hardware.name} = TP{p.tensor} x PP{p.pipeline} x {p.replicas} "
             f"replica{'s' if p.replicas > 1 else ''}"]
    if hardware.gpu is not None and hardware.gpu.kernels != "vllm":
        notes.append(f"the simulation used the kernels of {hardware.gpu.kernels}; vLLM's speed will differ")
    if p.tensor * p.pipeline > hardware.max_devices_per_node:
        notes.append("a replica spans nodes: start a Ray cluster on them first, and run each command on its head node")
    return notes


def _replicas(design: Design, start: str, flags: list[str]) -> list[str]:
    """One command where one server can hold all replicas, else one a replica.

    Replicas of a mixture of experts are never ranks of one data-parallel server: vLLM would share the experts between them.
    """
    p, per_node = design.parallelism, design.hardware.max_devices_per_node
    if p.replicas == 1:
        return [_command(start, flags)]
    if p.devices <= per_node and not design.model.experts:
        return [_command(start, [*flags, f"--data-parallel-size {p.replicas}"])]
    size = p.tensor * p.pipeline
    here = max(per_node // size, 1)  # replicas in a node
    lines = ["# replicas are servers of their own: put a load balancer before them"]
    for i in range(p.replicas):
        slot = i % here
        chosen = ""
        if size <= per_node:
            chosen = f"CUDA_VISIBLE_DEVICES={','.join(str(slot * size + k) for k in range(size))} "
        lines += [f"# replica {i + 1}, on node {i // here + 1}" if size <= per_node else f"# replica {i + 1}",
                  _command(chosen + start, [*flags, f"--port {FIRST_PORT + slot}"]) + (" &" if here > 1 else "")]
    return lines


def _command(start: str, flags: list[str]) -> str:
    return " \\\n  ".join([start, *flags])


def _switch(name: str, on: bool) -> str:
    return f"--{name}" if on else f"--no-{name}"
