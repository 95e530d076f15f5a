"""The sections of docs/accuracy.md: what each validation runs on, and what there is to say about it.

Prose holds no figures: those come from the scripts. `why` is said of whatever is worst in the section.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Section:
    """One table of the page. arguments: of the script, paths relative to the shared data."""

    title: str
    script: str
    arguments: tuple[str, ...]
    about: str
    why: str


SERVING = ("Mean and percentiles over all requests of the recorded run, simulated with operator times from the tables and the "
           "recorded arrivals; KV capacity is predicted. `last_two_thirds` are requests that a calibration on the run's first "
           "third has not seen.")
SERVING_WHY = ("What is left is host time: a server's CPU work per step is known by a few constants, and TTFT under load carries "
               "every error of every step before it. Differences of `running` and `waiting` are means over the run's samples.")

REPLAY = ("LLMServingSim's simulation of the recorded run, repeated with its tables and its cost rules on our scheduler and prefix "
          "cache: the schedule and the arithmetic are compared, not the hardware.")
REPLAY_WHY = "ASTRA-Sim adds a few nanoseconds to every step; nothing else differs."

OPERATORS = ("The datasheet's GPU model against measured operators of three serving frameworks. `_datasheet` rows are the same "
             "without the constants calibrated on this device. `below_roofline` counts prices that beat physics.")
OPERATORS_WHY = ("The worst are small shapes, where a few microseconds of launch decide, and shapes where a library changes its "
                 "kernel: the model has one family of tiles for all frameworks. fp8 scatters most: scaling kernels differ by "
                 "framework and version.")


def sections(data: Path) -> list[Section]:
    """All of them, for the data in `data` (recorded runs are found by folder)."""
    runs = [Section(f"Recorded vLLM run: {run.name}", "validate_serving.py",
                    ("--run", f"data/vllm_runs/{run.name}", "--tables", f"data/llmservingsim_tables/{tables}"),
                    SERVING, SERVING_WHY)
            for run in sorted((data / "data/vllm_runs").glob("*/")) if (tables := run.name.replace("-", "/", 1))
            and (data / "data/llmservingsim_tables" / tables / "meta.yaml").is_file()]
    replays = [Section(f"LLMServingSim's own run: {sim.parent.name}", "validate_llmservingsim.py",
                       ("--sim", f"data/vllm_runs/{sim.parent.name}/{sim.name}", "--tables",
                        f"data/llmservingsim_tables/{sim.parent.name.replace('-', '/', 1)}", "--workload",
                        f"data/vllm_runs/{workload.name}"), REPLAY, REPLAY_WHY)
               for sim in sorted((data / "data/vllm_runs").glob("*/llmservingsim_sim.csv.gz"))
               for workload in sorted((data / "data/vllm_runs").glob("*.jsonl.gz"))[:1]]
    operators = [Section(f"GPU operators from the datasheet: {system}", "validate_operators.py",
                         (*(f"data/silicon/op_{name}.csv.gz" for name in ("gemm_subset", "attention_hd128", "comm")),
                          "--system", system), OPERATORS, OPERATORS_WHY) for system in ("h100_sxm", "a100_sxm")]
    operators.append(Section(
        "GPU operators from the datasheet: l40s", "validate_operators.py",
        ("data/silicon/op_gemm_l40s.csv.gz", "data/silicon/op_comm_l40s.csv.gz", "--system", "l40s"),
        "A card with a large cache and a low power limit. GEMMs whose operands lay in the cache are left out and counted; "
        "constants were settled on every second of the others, and `held_out` are the rest.",
        "Collectives are worst: groups of PCIe cards share a tree of switches and sockets, and the preset has one bandwidth for "
        "any number of them."))
    return [
        Section("Scheduler", "validate_scheduler.py", ("oracle/vllm_scheduler",),
                "Every decision of the vLLM v1 scheduler in recorded scenarios, replayed by both engines.",
                "Anything but zero differences is a bug."),
        Section("Engine defaults", "validate_defaults.py", ("oracle/vllm_defaults",),
                "Limits by device and configuration fields that vLLM's own functions gave, and cases worked by hand from the "
                "sources of vLLM, SGLang and TensorRT-LLM, against the engine records.", "Anything but zero is a bug."),
        Section("KV pools in engine logs", "validate_kv_logs.py", ("data/published/kv_capacity_points.csv.gz",),
                "KV memory by the engine's rule against what servers logged; vLLM from 0.9 on is judged.",
                "What is left is what a profile run finds in addition to tensors: collectives' buffers on NVLink machines, and "
                "temporaries of mixtures of experts and of a sorting sampler with a thousand sequences."),
        Section("KV pools by vLLM's own arithmetic", "validate_kv_capacity.py", ("oracle/vllm_kv_capacity",),
                "Groups, page sizes and blocks that vLLM 0.32's own functions gave for models of several kinds of layers.",
                "Anything but zero is a bug."),
        Section("Model configs", "validate_models.py", ("data/model_configs",),
                "config.json files as checkpoints ship them: how many are read, and parameters against exact counts.",
                "Encoder-decoders and types that need a repository's own code would be refused by name."),
        *runs,
        *replays,
        Section("Vidur's schedule", "validate_vidur.py", ("data/vidur",),
                "Vidur's workload with Vidur's own tables and step formula: the scheduler and the engine are compared, not the "
                "hardware.", "Step times differ in the last digit: the engine's clock counts whole nanoseconds."),
        Section("Recorded engine steps", "validate_steps.py", ("data/vllm_steps/qwen3_32b_b300_tp1_tp4.csv.gz",),
                "Step times of a server, host and efficiency parameters fitted on 5 % of the rows and compared on the rest "
                "(`mape_worst_sample`: the worst of five such samples); `unfitted` is the datasheet with defaults.",
                "Steps that hold prefill are worst: the clock of a board at its power limit depends on the steps before (a chunk "
                "between decodes runs a third faster than the same chunk among prefills), and a row gives the sum of the chunks' "
                "tokens and contexts, not the chunks. `misrecorded_rows` are faster than the roofline, or hold the time of such a "
                "row beside their own; they are left out."),
        Section("Serving points of fixed lengths", "validate_e2e.py", ("data/silicon/e2e_dense_h100.csv.gz",),
                "TTFT and TPOT of dense models on H100 at a fixed concurrency, from the datasheet's model, no table. `*_peer` is "
                "aiconfigurator's own prediction of the same rows, on its own measured tables.",
                "TTFT depends on clients and token budget, which the points do not say: taken is what aiconfigurator's own "
                "evaluation does (ten requests a client, a budget of prompt + batch + 1500). `settled` are the configurations on "
                "which constants of hosts were settled, `held_out` the others. Worst are Llama-3.1-8B at TP 4 and 8 with 64 and "
                "more clients, whose TTFT grows with the output length: tokens queue on their way to the clients, in a front end "
                "that delivers some ten thousand a second and is not simulated; SGLang at TP 1, where the KV pool is what is "
                "left of two large numbers; and seven points of 1,000 output tokens, whose clients must have been fewer than "
                "they say. TPOT is too low where prefills fill the steps: kernels calibrated in short bursts run below that "
                "rate under a lasting load."),
        Section("Serving points with a known harness", "validate_e2e.py", ("data/published/inferencemax_70b_fp8.csv.gz",),
                "Llama-3.1-70B FP8 on H100 (vLLM) and H200 (TensorRT-LLM): lengths, clients, slots, budget and KV type as the file "
                "says, engines by their records; nothing was settled on these points.",
                "TensorRT-LLM comes out slow by a time that does not depend on the batch: it fuses quantisation into norms, "
                "attention and the activation, and all-reduces into norms, which are counted as kernels of their own here. "
                "vLLM comes out fast by a time per sequence."),
        Section("Published measurements", "validate_published.py", ("data/published/points.csv.gz",),
                "Serving systems as vendors and users published them, by source, engines by their records and the flags that the "
                "pages quote. Sources whose engine is modern and known are judged by their signed medians.",
                "GPUStack's bursts of a thousand requests go through one front end, which is not simulated, and pages of unknown "
                "versions are run with the nearest record. TensorRT-LLM and SGLang are scheduled by vLLM's rules."),
        *operators,
        Section("Power of served boards", "validate_power.py", ("data/published/power.csv.gz",),
                "Board power, energy per token and inter-token latency of servers in steady state at batches of 8 to 512. "
                "`held_out` are the rows on which nothing was settled. `power_at_measured_rate` is the energy model alone: the "
                "simulated energy per token of kernels at the measured rate of tokens, with idle power.",
                "Worst is B200, and only where its step is: the same GPU, model and batch of eight take several times as long a "
                "step in one task as in the other, of which longer contexts are a millisecond. These servers waited for their "
                "hosts, and the rows do not say why; no host time was settled on them. A board that waits draws little: at the "
                "measured rate its power is right. H100 is too low where contexts are long and batches large."),
        Section("Silicon", "validate_silicon.py", (),
                "Die area, board power and cost of making against shipped chips; constants were settled on those of the `fitted` "
                "rows. TDPs are caps and not peaks, and published costs are estimates.",
                "Groq's die is denser than the constants have it, and boards of low voltage are overestimated."),
        Section("Intervals over replicates", "validate_noise.py", (),
                "Share of 95 % intervals over 3, 5 and 10 seeds that hold the mean of all seeds, for metrics of one design and for "
                "differences between two on the same seeds (`paired_narrower`: how much narrower those are than on seeds of "
                "their own). Simulations alone, no recorded data.",
                "Percentiles of few requests are skewed: their intervals hold the truth a little less often than they say."),
        Section("Hardware models", "validate_hardware.py", ("data/hardware",),
                "NPU, PIM, link and area models against cycle-level simulators, published figures and measurements.",
                "The worst are A100 softmax and layer norm timed from PyTorch in eager mode, where the launch is most of the time, "
                "and small all-reduces."),
    ]
