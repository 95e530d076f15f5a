"""`python -m simulator` evaluates one design, without Ray, Optuna or MLflow."""

from __future__ import annotations

import argparse
import sys

from simulator.command_line import build_parser
from simulator.inputs.cli import guarded


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and runs it; returns the exit code."""
    return guarded(lambda: _dispatch(build_parser().parse_args(argv)))


def _dispatch(args: argparse.Namespace) -> int:
    """Imports what the command needs and runs it: `--help` stays fast."""
    if args.command == "run":
        from simulator.commands.run import run_command

        return run_command(args.design, args.overrides, as_json=args.json, requests_file=args.requests_csv,
                           steps_file=args.steps_csv, use_reference=args.reference, stream=args.stream)
    if args.command == "capacity":
        from simulator.commands.capacity import capacity_command

        return capacity_command(args.design, args.overrides, args.slo, seeds=args.seeds, tolerance=args.tolerance,
                                as_json=args.json)
    if args.command == "timeline":
        from simulator.commands.timeline import timeline_command

        return timeline_command(args.design, args.overrides, args.output, steps=args.steps, requests=args.requests)
    if args.command == "calibrate":
        from simulator.commands.calibrate import calibrate_command

        return calibrate_command(args.steps, run=args.run, tables=args.tables, workload=args.workload, model=args.model,
                                 hardware=args.hardware, tensor=args.tensor)
    if args.command == "profile":
        from simulator.commands.profile import profile_command

        return profile_command(args.model, args.device, args.tp, args.out, launch=args.launch, repeats=args.repeats,
                               max_tokens=args.max_tokens, max_sequences=args.max_sequences, max_context=args.max_context,
                               hardware=args.hardware)
    if args.command == "import":
        from simulator.commands.import_tables import import_command

        return import_command(args.format, args.source, args.destination, model=args.model, hardware=args.hardware,
                              network=args.network)
    if args.command == "hardware":
        from simulator.commands.hardware import hardware_command

        return hardware_command(args.hardware, args.overrides, args.costs)
    from simulator.commands.price import price_command

    return price_command(args.hardware, args.op, args.overrides, as_json=args.json, plot=args.plot)


if __name__ == "__main__":
    sys.exit(main())
