"""The `vllm serve` command of a GPU design.

Names and meanings of the flags are vLLM's (vllm/engine/arg_utils.py; vLLM docs, "Engine Arguments").
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from simulator.design.design import Design
from simulator.design.engine_defaults.resolve import default_serving
from simulator.design.load import load_engine
from simulator.design.records.engine import EngineRecord
from simulator.design.records.model import Precision
from simulator.design.records.serving import Serving
from simulator.inputs.errors import InputError
from simulator.pricing.kv_memory import fitting_sequence, memory_of

ENGINE = "vllm-0.32"  # whose parser and defaults a design without an engine is written for
# Flags that are not the key with dashes
FLAGS = {"memory_utilization": "gpu-memory-utilization", "num_gpu_blocks": "num-gpu-blocks-override", "policy": "scheduling-policy"}
SINCE = {"scheduler_reserve_full_isl": (0, 19), "watermark": (0, 24)}  # versions of vLLM that have the flag


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


def runs_on_vllm(design: Design) -> bool:
    """Whether there is such a command: the hardware is a GPU, the engine vLLM or not named, the scheduler vLLM's."""
    return design.hardware.gpu is not None and design.serving.scheduler == "vllm_v1" and (
        design.engine is None or design.engine.scheduler.family == "vllm_v1")


def vllm_command(design: Design) -> Command:
    """The command of one server of the design: what differs from vLLM's own defaults there. Raises InputError where its
    hardware is not a GPU, or its engine another."""
    if design.hardware.gpu is None:
        raise InputError(f"vLLM does not run on '{design.hardware.name}'; `--to sheet` describes such hardware", key="hardware")
    record = load_engine(ENGINE) if design.engine is None else design.engine
    if record.scheduler.family != "vllm_v1":
        raise InputError(f"the design's engine is {record.name}, not vLLM", key="engine")
    if design.serving.scheduler != "vllm_v1":
        raise InputError(f"the design's scheduler is {design.serving.scheduler}, not vLLM's", key="serving.scheduler")
    model, notes = _model(design)
    precision, more = _precision(design.precision, fp8=design.hardware.gpu.peak_fp8 is not None)
    placed, placing = _placed(design)
    flags, unknown = _settings(design, record)
    if design.serving.preemption == "swap":
        more.append("the design swaps preempted requests out; vLLM v1 computes them again")
    return Command(("vllm", "serve", model, *_degrees(design), *placed, *flags, *precision), (*placing, *notes, *more, *unknown))


def _degrees(design: Design) -> list[str]:
    parallelism = design.parallelism
    return [word for flag, degree in (("--tensor-parallel-size", parallelism.tensor),
                                      ("--pipeline-parallel-size", parallelism.pipeline))
            if degree > 1 for word in (flag, str(degree))]


def _settings(design: Design, record: EngineRecord) -> tuple[list[str], list[str]]:
    """Flags of the serving settings that differ from what vLLM would choose beside them, and notes on those that this version
    has no flag for."""
    serving = design.serving
    flags: list[str] = []
    notes: list[str] = []
    longest = serving.max_model_len if serving.max_model_len != "auto" else fitting_sequence(design, memory_of(design))
    if longest != design.model.max_positions:
        flags += ["--max-model-len", str(longest)]
    for key in _differing(design, record):
        value, since = getattr(serving, key), SINCE.get(key)
        if since is not None and _version(record) < since:
            notes.append(f"{record.name} has no flag for {key} ({value})")
        elif key == "cuda_graphs":
            flags += ["--enforce-eager"] if not value else []
        elif isinstance(value, bool):
            flags.append(f"--{'' if value else 'no-'}{_dashed(key)}")
        else:
            flags += [f"--{FLAGS.get(key) or _dashed(key)}", f"{value:g}" if isinstance(value, float) else str(value)]
    return flags, notes


def _differing(design: Design, record: EngineRecord) -> list[str]:
    """Keys of serving that must be said so that vLLM ends at the design's values; its defaults depend on what is said."""
    serving = design.serving
    keys = [key for key in Serving.model_fields if key not in ("scheduler", "max_model_len", "preemption", "swap_to")]
    if design.engine is None:  # graphs are not modelled then, which says nothing of the server
        keys.remove("cuda_graphs")

    def missing(said: list[str]) -> str | None:
        values = {key: getattr(serving, key) for key in (*said, *(["max_model_len"] if serving.max_model_len != "auto" else []))}
        left_open = Serving.model_construct(_fields_set=set(values), **{**Serving().model_dump(), **values})
        chosen = default_serving(design.model_copy(update={"serving": left_open}), record)
        return next((key for key in keys if getattr(chosen, key) != getattr(serving, key)), None)

    said: list[str] = []
    while (key := missing(said)) is not None:
        said.append(key)
    for key in tuple(said):  # one may follow from another that was said after it
        if missing([other for other in said if other != key]) is None:
            said.remove(key)
    return said


def _dashed(key: str) -> str:
    return key.replace("_", "-")


def _version(record: EngineRecord) -> tuple[int, ...]:
    return tuple(int(part) for part in record.name.partition("-")[2].split(".")[:2] if part.isdigit())


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
    elif kv != wide:
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
