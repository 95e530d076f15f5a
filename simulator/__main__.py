"""`python -m simulator`: evaluate one design, without Ray, Optuna or MLflow."""

from __future__ import annotations

import argparse
import sys

from simulator.inputs.cli import guarded

EXAMPLES = """examples:
  python -m simulator run npu-pim-chat
  python -m simulator run configs/designs/h100-chat.yaml --set parallelism.tensor=2 --set workload.rate="8 requests/s"
  python -m simulator run my_design.yaml --json --requests-csv requests.csv --steps-csv steps.parquet
"""


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and runs it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="simulate one design and print its metrics", epilog=EXAMPLES,
                              formatter_class=argparse.RawDescriptionHelpFormatter)
    run.add_argument("design", help="a design YAML, or a name from configs/designs")
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                     help="change a dotted key, e.g. hardware.npu.array=[128,128]; may be repeated")
    run.add_argument("--json", action="store_true", help="print metrics, breakdown and design as JSON")
    run.add_argument("--requests-csv", metavar="FILE", help="write one row per request (.csv or .parquet)")
    run.add_argument("--steps-csv", metavar="FILE", help="write one row per engine step (.csv or .parquet)")
    run.add_argument("--reference", action="store_true", help="use the readable reference engine (same result, slower)")
    args = parser.parse_args(argv)

    from simulator.commands.run import run_command

    return guarded(lambda: run_command(args.design, args.overrides, as_json=args.json, requests_file=args.requests_csv,
                                       steps_file=args.steps_csv, use_reference=args.reference))


if __name__ == "__main__":
    sys.exit(main())
