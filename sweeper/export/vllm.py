"""The `vllm serve` command of a GPU design.

Names and meanings of the flags are vLLM's (vllm/engine/arg_utils.py; vLLM docs, "Engine Arguments").
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from simulator.design.design import Design
from simulator.design.records.model import Precision
from simulator.inputs.errors import InputError


@dataclass(frozen=True)
class Command:
    """`arguments` of one server, the program first; `notes`: what no flag can say."""

    arguments: tuple[str, ...]
    notes: tuple[str, ...]

    def text(self) -> str:
        """A shell script: notes as comments, one flag a line."""
        head, flags = self.arguments[:3], self.arguments[3:]
        lines = [shlex.join(head)]
        for word in flags:
            if word.startswith("--"):
                lines.append(word)
            else:
                lines[-1] += f" {shlex.quote(word)}"
        return "".join(f"# {note}\n" for note in self.notes) + " \\\n  ".join(lines) + "\n"


def vllm_command(design: Design) -> Command:
    """The command of one server of the design. Raises InputError where its hardware is not a GPU."""
    if design.hardware.gpu is None:
        raise InputError(f"vLLM does not run on '{design.hardware.name}'; `--to sheet` describes such hardware", key="hardware")
    serving, parallelism = design.serving, design.parallelism
    model, notes = _model(design)
    precision, more = _precision(design.precision, fp8=design.hardware.gpu.peak_fp8 is not None)
    placed, placing = _placed(design)
    longest = design.model.max_positions if serving.max_model_len == "auto" else serving.max_model_len
    flags = [
        "vllm", "serve", model,
        "--tensor-parallel-size", str(parallelism.tensor), "--pipeline-parallel-size", str(parallelism.pipeline), *placed,
        "--max-num-seqs", str(serving.max_num_seqs), "--max-num-batched-tokens", str(serving.max_num_batched_tokens),
        "--max-model-len", str(longest), "--gpu-memory-utilization", f"{serving.memory_utilization:g}",
        "--block-size", str(serving.block_size), *precision,
        _switch("enable-prefix-caching", serving.enable_prefix_caching),
        _switch("enable-chunked-prefill", serving.enable_chunked_prefill),
        _switch("async-scheduling", serving.async_scheduling), "--scheduling-policy", serving.policy,
    ]
    if serving.num_gpu_blocks != "auto":
        flags += ["--num-gpu-blocks-override", str(serving.num_gpu_blocks)]
    if serving.long_prefill_token_threshold:
        flags += ["--long-prefill-token-threshold", str(serving.long_prefill_token_threshold)]
    if not serving.scheduler_reserve_full_isl:
        flags.append("--no-scheduler-reserve-full-isl")
    if serving.watermark:
        flags += ["--watermark", f"{serving.watermark:g}"]
    if serving.preemption == "swap":
        more.append("the design swaps preempted requests out; vLLM v1 computes them again")
    return Command(tuple(flags), (*placing, *notes, *more))


def _switch(name: str, on: bool) -> str:
    return f"--{name}" if on else f"--no-{name}"


def _model(design: Design) -> tuple[str, list[str]]:
    """The Hugging Face repository that the model's source names."""
    found = re.search(r"config\.json of (\S+/\S+)", design.model.source)
    if found:
        return found[1], []
    return design.model.name, [f"'{design.model.name}' is not a Hugging Face repository: put the weights' name or path there"]


def _precision(precision: Precision, *, fp8: bool) -> tuple[list[str], list[str]]:
    """Flags and notes for the number formats."""
    weights, activations, kv = precision.weights, precision.activations, precision.kv
    wide = activations if activations in ("fp16", "bf16") else weights if weights in ("fp16", "bf16") else "bf16"
    flags = ["--dtype", "float16" if wide == "fp16" else "bfloat16"]
    notes = []
    if weights == "fp8" and activations == ("fp8" if fp8 else wide):
        flags += ["--quantization", "fp8"]  # of 16-bit weights, as they are loaded; weight-only where the GPU has no fp8
    elif weights != wide or activations != wide:
        notes.append(f"serve a checkpoint quantised to {weights} weights and {activations} activations "
                     "(vLLM reads the method from its config.json)")
    if kv == "fp8":
        flags += ["--kv-cache-dtype", "fp8"]
    elif kv == wide:
        flags += ["--kv-cache-dtype", "auto"]
    else:
        notes.append(f"the design keeps the KV cache in {kv}, which `--kv-cache-dtype` may not offer")
    return flags, notes


def _placed(design: Design) -> tuple[list[str], list[str]]:
    """Flags and notes on replicas, nodes and experts."""
    p, node = design.parallelism, design.hardware.max_devices_per_node
    flags, notes = [], []
    devices = p.tensor * p.pipeline
    if p.replicas > 1 and p.devices <= node and not design.model.experts:
        flags += ["--data-parallel-size", str(p.replicas)]
    elif p.replicas > 1:  # with experts, vLLM's data parallelism would share them between replicas
        notes.append(f"start {p.replicas} such servers, each on {devices} GPUs of its own, behind a round-robin load balancer")
    if devices > node:
        flags += ["--distributed-executor-backend", "ray"]
        notes.append(f"a server spans {-(-devices // node)} nodes of {node} GPUs: start a Ray cluster over them first")
    if p.expert_parallel and design.model.experts:
        flags.append("--enable-expert-parallel")
    return flags, notes
