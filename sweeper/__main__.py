"""`python -m sweeper` sweeps a design space and shows what came out."""

from __future__ import annotations

import importlib
import os
import sys

from simulator.inputs.cli import guarded
from sweeper.command_line import build_parser


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and runs it; returns the exit code."""
    if os.name == "nt":
        print("sweeper runs on Linux and macOS; on Windows, install and run it in WSL (`wsl --install`)", file=sys.stderr)
        return 2
    args = build_parser().parse_args(argv)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy loads: the cores belong to the simulations
    module, function = args.run.split(":")

    def command() -> int | None:
        result: int | None = getattr(importlib.import_module(module), function)(args)
        return result

    return guarded(command)


if __name__ == "__main__":
    sys.exit(main())
