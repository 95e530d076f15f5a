"""Reads every config.json below a folder and checks parameter counts: `validate_models.py DIR [--json FILE]`.

DIR holds a folder per checkpoint (config.json, hf_quant_config.json) and, where counts are known, expected.csv with the columns
model and text_parameters (exact; empty: not known). Prints what is refused and why, and every count that differs. Exit code 1
where more than 8 in 101 are refused, a file ends in anything but one InputError, or a count differs.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import finish, json_option, row
from simulator.design.load import load_model
from simulator.inputs.errors import InputError
from simulator.model.memory import parameters

REFUSED_SHARE = 8 / 101  # encoder-decoders and types that need a repository's own code


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, metavar="DIR")
    json_option(parser)
    args = parser.parse_args(argv)
    files = sorted(args.directory.glob("*/config.json"))
    if not files:
        print(f"{args.directory}: has no */config.json", file=sys.stderr)
        return 2
    expected = _expected(args.directory / "expected.csv")
    read, refused, failed, mismatches, checked = 0, 0, 0, 0, 0
    for file in files:
        name = file.parent.name
        try:
            found = parameters(load_model(file))
        except InputError as error:
            refused += 1
            print(f"{name}: refused: {str(error).removeprefix(f'{file}: ')}")
            continue
        except Exception as error:  # a crash is a failure of ours; the other files are still judged
            failed += 1
            print(f"{name}: failed: {type(error).__name__}: {error}")
            continue
        read += 1
        wanted = expected.get(name)
        checked += wanted is not None
        if wanted is not None and found != wanted:
            mismatches += 1
            print(f"{name}: {found:,} parameters, expected {wanted:,} ({found - wanted:+,})")
    print(f"{read} of {len(files)} files read; parameters checked in {checked}")
    rows = [row("models/read", read, "files"), row("models/refused_by_name", refused, "files", int(REFUSED_SHARE * len(files))),
            row("models/failed", failed, "files", 0), row("parameters/mismatches", mismatches, "files", 0)]
    return finish(rows, args.json)


def _expected(file: Path) -> dict[str, int]:
    """Model -> exact parameters of its language model, where known."""
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as lines:
        return {line["model"]: int(line["text_parameters"]) for line in csv.DictReader(lines) if line["text_parameters"]}


if __name__ == "__main__":
    sys.exit(main())
