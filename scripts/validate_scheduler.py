"""Replays recorded scheduler scenarios and compares every decision: `validate_scheduler.py DIR [--engine both]`.

DIR holds `scenarios.json.gz` and `answers.json.gz` in the scheduler oracle's format, with KV groups or speculation too. Prints
`identical N of M` for each engine and, for each scenario that differs, the first difference in words; an engine that refuses a
feature is said to be skipped, and its row is not met. Exit code 1 on any difference, 2 for a scenario with an unknown key.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts import scheduler_oracle as oracle
from scripts.report import finish, json_option, measured
from simulator.inputs.errors import InputError

MODULES = {"reference": "simulator.engine.reference", "fast": "simulator.engine.engine"}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--engine", choices=[*MODULES, "both"], default="both")
    json_option(parser)
    args = parser.parse_args(argv)
    try:
        recorded = oracle.load(args.directory)
        for scenario, _ in recorded:
            oracle.config_of(scenario)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    rows = []
    for engine in MODULES if args.engine == "both" else (args.engine,):
        run = importlib.import_module(MODULES[engine]).run
        identical, refusals = 0, []
        for scenario, answer in recorded:
            try:
                result = run(oracle.trace_of(scenario), oracle.config_of(scenario), oracle.costs_of(scenario), log=True)
                difference = oracle.first_difference(answer, oracle.answer_of(result))
            except InputError as error:
                refusals.append(str(error))
                continue
            except Exception as error:  # an engine that fails on one scenario still gets judged on the others
                difference = f"failed: {type(error).__name__}: {error}"
            if difference is None:
                identical += 1
            else:
                print(f"{engine}: {scenario['name']}: {difference}")
        if refusals:
            print(f"{engine}: skipped {len(refusals)} of {len(recorded)}: {refusals[0]}")
        print(f"{engine}: identical {identical} of {len(recorded)}")
        rows.append(measured(f"scheduler/{engine}/identical", identical, "scenarios", f"all {len(recorded)}",
                             identical == len(recorded)))
    return finish(rows, args.json, shown=True)


if __name__ == "__main__":
    sys.exit(main())
