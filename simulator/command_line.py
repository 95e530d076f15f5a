"""The arguments of `python -m simulator`; this module imports nothing heavy, so that --help answers at once."""

from __future__ import annotations

import argparse
from pathlib import Path

from simulator.inputs.cli import Parser

DESCRIPTION = "`python -m simulator`: evaluate one design, without Ray, Optuna or MLflow."
EXAMPLES = """examples:
  python -m simulator run npu-pim-chat
  python -m simulator run configs/designs/h100-chat.yaml --set parallelism.tensor=2 --set workload.rate="8 requests/s"
  python -m simulator run my_design.yaml --json --requests-csv requests.csv --steps-csv steps.parquet
  python -m simulator capacity npu-pim-chat --slo ttft_p99=500ms --slo tpot_p99=25ms
  python -m simulator timeline npu-pim-chat -o trace.json --steps 200
  python -m simulator hardware npu-pim
  python -m simulator price --hardware h100-sxm --op "gemm m=1..8192 n=4096 k=4096 dtype=bf16"
  python -m simulator import llmservingsim profiles/llama-3.1-8b tables/ --model llama-3.1-8b
  python -m simulator calibrate steps.csv --model qwen3-32b --hardware b300
"""
IMPORT = """formats (docs/measured-hardware.md):
  llmservingsim   an LLMServingSim profile bundle: meta.yaml, tp1/, tp2/ ...
  vidur           a Vidur profile: data/profiling/compute/DEVICE/MODEL with mlp.csv and attention.csv
  aiconfigurator  the installed NVIDIA databases (pip install 'llm-serving-sweeper[silicon]')
  parquet         tables in our own columns (.parquet, .csv or a folder of them), checked and put in order

examples:
  python -m simulator import aiconfigurator h100_sxm/vllm tables/h100-vllm
  python -m simulator run h100-chat --set hardware.tables=tables/h100-vllm
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser: argparse.ArgumentParser = Parser(prog="python -m simulator", description=DESCRIPTION, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="simulate one design and print its metrics")
    run.add_argument("design", help="a design YAML, or a name from configs/designs")
    _add_set(run, "hardware.npu.array=[128,128]")
    run.add_argument("--json", action="store_true", help="print metrics, breakdown and design as JSON")
    run.add_argument("--requests-csv", metavar="FILE", help="write one row per request (.csv or .parquet)")
    run.add_argument("--steps-csv", metavar="FILE", help="write one row per engine step (.csv or .parquet)")
    run.add_argument("--reference", action="store_true", help="use the readable reference engine (same result, slower)")
    run.add_argument("--stream", action="store_true", help="keep statistics, not requests: memory that does not grow with the "
                     "trace, percentiles within 0.05 %% (by itself above 1,000,000 requests)")
    capacity = commands.add_parser("capacity", help="the highest request rate at which a design meets its latency targets")
    capacity.add_argument("design", help="a design YAML, or a name from configs/designs")
    _add_set(capacity, "parallelism.tensor=4")
    capacity.add_argument("--slo", action="append", default=[], metavar="METRIC=LIMIT",
                          help="a target, e.g. ttft_p99=2s, tpot_p95=50ms or attainment=95%% (of the design's slo); "
                               "may be repeated (default: attainment=99%%)")
    capacity.add_argument("--seeds", type=int, default=3, metavar="N", help="replicates of the workload (default: 3)")
    capacity.add_argument("--tolerance", default="1 %", help="of the rate (default: 1 %%)")
    capacity.add_argument("--json", action="store_true", help="print metrics and brackets as JSON")
    timeline = commands.add_parser("timeline", help="engine steps as a trace for https://ui.perfetto.dev or chrome://tracing")
    timeline.add_argument("design", help="a design YAML, or a name from configs/designs")
    _add_set(timeline, "parallelism.pipeline=2")
    timeline.add_argument("-o", "--output", required=True, metavar="FILE.json", help="trace events; .json.gz compresses them")
    timeline.add_argument("--steps", type=int, default=1000, metavar="N", help="first steps of every replica (default: 1000)")
    timeline.add_argument("--requests", type=int, default=200, metavar="N", help="first requests as spans (default: 200)")
    hardware = commands.add_parser("hardware", help="a device at a glance: rates, bandwidths, area, USD, W (or the list)")
    hardware.add_argument("hardware", nargs="?", help="a name from configs/hardware or a YAML file; none: list them")
    _add_set(hardware, "npu.arrays=4")
    hardware.add_argument("--costs", default="default", help="cost assumptions: a name from configs/costs or a file")
    price = commands.add_parser("price", help="what an operator costs on a device, shape by shape",
                                epilog="operators: gemm, norm, prefill_attention, decode_attention, all_reduce,\n"
                                "all_gather, reduce_scatter, all_to_all, p2p;"
                                       " ranges double (1..8192) or count (64..512:64)")
    price.add_argument("--hardware", required=True, help="a name from configs/hardware or a YAML file")
    price.add_argument("--op", required=True, help='e.g. "gemm m=1..8192 n=4096 k=4096 dtype=bf16"')
    _add_set(price, "npu.arrays=4")
    price.add_argument("--json", action="store_true", help="print rows as JSON")
    price.add_argument("--plot", metavar="FILE.html", help="write a log-log plot with the roofline")
    tables = commands.add_parser("import", help="measured operators of other tools into operator tables (parquet)",
                                 epilog=IMPORT, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables.add_argument("format", metavar="FORMAT", help="llmservingsim, vidur, aiconfigurator or parquet")
    tables.add_argument("source", metavar="SRC", help="a folder or file; for aiconfigurator SYSTEM/FRAMEWORK[/VERSION]")
    tables.add_argument("destination", type=Path, metavar="DEST", help="folder for tables and their reports")
    tables.add_argument("--model", help="a name from configs/models or a config.json, where the source names none")
    tables.add_argument("--hardware", help="a name from configs/hardware, for the roofline checks")
    tables.add_argument("--network", type=Path, metavar="DIR", help="vidur: the folder of all_reduce.csv and send_recv.csv")
    profile = commands.add_parser("profile", help="measure a model's operators on this machine into an operator table")
    profile.add_argument("--model", required=True, help="a name from configs/models or a config.json")
    profile.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    profile.add_argument("--tp", type=int, default=1, metavar="N", help="tensor-parallel degree to measure a shard of (default: 1)")
    profile.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of tpN.parquet; a cut-off profile goes on")
    profile.add_argument("--launch", choices=("graph", "eager"), help="default: graph on a GPU, eager on a CPU")
    profile.add_argument("--repeats", type=int, default=30, metavar="N", help="of every point, at most (default: 30)")
    profile.add_argument("--max-tokens", type=int, default=8192, metavar="N", help="largest batch in tokens (default: 8192)")
    profile.add_argument("--max-sequences", type=int, default=256, metavar="N", help="largest decode batch (default: 256)")
    profile.add_argument("--max-context", type=int, default=32768, metavar="N", help="longest context in tokens (default: 32768)")
    profile.add_argument("--hardware", help="the device's preset in configs/hardware, for the roofline check")
    calibrate = commands.add_parser("calibrate", help="host and speed constants of a device from a few measured steps, or a run")
    calibrate.add_argument("steps", nargs="?", type=Path, metavar="STEPS.csv", help="measured engine steps (docs/calibration.md)")
    calibrate.add_argument("--run", type=Path, metavar="DIR", help="a recorded vLLM run instead; its first third is used")
    calibrate.add_argument("--tables", type=Path, metavar="DIR", help="operator tables of the run's device and model")
    calibrate.add_argument("--workload", type=Path, metavar="FILE", help="the run's requests with their token ids")
    calibrate.add_argument("--model", help="a name from configs/models")
    calibrate.add_argument("--hardware", help="a name from configs/hardware")
    calibrate.add_argument("--tensor", type=int, default=1, metavar="N", help="tensor-parallel degree of the steps")
    for name, command in commands.choices.items():
        examples = "\n".join(line for line in EXAMPLES.splitlines() if f"simulator {name} " in f"{line} ")
        command.epilog = "\n\n".join(text for text in (command.epilog if name == "price" else "", f"examples:\n{examples}") if text)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser


def _add_set(parser: argparse.ArgumentParser, example: str) -> None:
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                        help=f"change a dotted key, e.g. {example}; may be repeated")
