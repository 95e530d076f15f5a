"""The arguments of `python -m sweeper`; this module imports nothing heavy, so that --help answers at once."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser

from simulator.inputs.cli import Parser
from sweeper.commands.examples import EXAMPLES, add_examples
from sweeper.space.sampler_names import ALL_NAMES

DESCRIPTION = "`python -m sweeper`: sweep a design space and look at what came out."


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(prog="python -m sweeper", description=DESCRIPTION, epilog=f"examples:\n{EXAMPLES['run']}",
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="sweep a search space into a new study folder")
    run.set_defaults(run="sweeper.commands.run:run")
    run.add_argument("space", metavar="SPACE", help="a search-space YAML, or a name from search_spaces/")
    _machine_options(run)
    run.add_argument("--seed", type=int, metavar="N", help="of the search (default: the space's, 0)")
    run.add_argument("--sampler", metavar="NAME", help=f"how designs are proposed: {', '.join(ALL_NAMES)} or a "
                     "plug-in (default: the space's, auto)")
    run.add_argument("--warm-start", metavar="DIR", action="append", default=[],
                     help="an earlier study's folder: its results of identical designs are taken over, the best of the "
                          "others are tried first; may be repeated")
    run.add_argument("--ladder", choices=("auto", "on", "off"),
                     help="bounds before a simulation (default: the space's, auto: where it pays)")
    run.add_argument("--deterministic", action="store_true",
                     help="same seed, same trials, whatever the number of workers (batches of 16 in step)")
    run.add_argument("--out", metavar="DIR", help="study folder (default: runs/<name of the space>)")
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                     help="change a dotted key of the base design; may be repeated")

    resume = commands.add_parser("resume", help="continue a study where it stopped; --trials can raise its number")
    resume.set_defaults(run="sweeper.commands.run:resume")
    resume.add_argument("folder", metavar="DIR", help="study folder, e.g. runs/quick")
    _machine_options(resume)

    validate = commands.add_parser("validate", help="check a search space without running it")
    validate.set_defaults(run="sweeper.commands.validate:command")
    validate.add_argument("space", metavar="SPACE", help="a search-space YAML, or a name from search_spaces/")
    validate.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                          help="change a dotted key of the base design; may be repeated")

    for name, text in (("report", "write report.html and the result tables anew"),
                       ("best", "print the best design of each objective")):
        command = commands.add_parser(name, help=text)
        command.set_defaults(run=f"sweeper.commands.show:{name}")
        command.add_argument("folder", metavar="DIR", help="study folder, e.g. runs/quick")
        if name == "report":
            command.add_argument("--budget", type=float, default=5.0, metavar="SECONDS", help="of simulations that the report "
                                 "may add: what-if slices, breakdowns, a random sample (default: 5)")

    explain = commands.add_parser("explain", help="why a trial's design is fast or slow, and which knob would help")
    explain.set_defaults(run="sweeper.commands.explain:explain")
    _of_trial(explain)
    explain.add_argument("--against", metavar="TRIAL", help="compare with this trial or baseline")
    explain.add_argument("--json", action="store_true", help="print JSON")

    export = commands.add_parser("export", help="a trial's design as a vLLM command, a YAML, JSON or a hardware summary")
    export.set_defaults(run="sweeper.commands.export:export")
    _of_trial(export)
    export.add_argument("--to", choices=("vllm", "yaml", "json", "sheet"), required=True,
                        help="vllm: a `vllm serve` command (GPUs); yaml: for `python -m simulator run`; sheet: the hardware "
                             "in Markdown")
    export.add_argument("--output", metavar="FILE", help="write there instead of printing")

    ui = commands.add_parser("ui", help="open MLflow's web pages for a study")
    ui.set_defaults(run="sweeper.commands.show:ui")
    ui.add_argument("folder", metavar="DIR", nargs="?", default="runs",
                    help="study folder, or a folder of studies (default: runs)")
    ui.add_argument("--port", type=int, default=5000, help="on 127.0.0.1 (default: 5000)")

    for name in ("spaces", "models", "hardware", "workloads"):
        listed = commands.add_parser(name, help=f"list the {name} that ship")
        listed.set_defaults(run="sweeper.commands.lists:listing")

    schema = commands.add_parser("schema", help="JSON schema of a kind of YAML, for editors")
    schema.set_defaults(run="sweeper.commands.schema:schema")
    schema.add_argument("kind", nargs="?", default="space",
                        choices=("space", "design", "model", "hardware", "serving", "workload", "costs"))

    doctor = commands.add_parser("doctor", help="check the installation: versions, Ray, MLflow, disk, compiled code")
    doctor.set_defaults(run="sweeper.commands.doctor:doctor")

    completion = commands.add_parser("completion", help="completion script for bash, zsh or fish")
    completion.set_defaults(run="sweeper.commands.completion:completion")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    completion.add_argument("--program", choices=("sweeper", "simulator"), default="sweeper")
    add_examples(parser.commands)
    return parser


def _of_trial(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="study folder, e.g. runs/quick")
    parser.add_argument("trial", metavar="TRIAL", help="a trial's number, or the name of a baseline")


def _machine_options(parser: ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, metavar="N", help="designs to evaluate in all, baselines included")
    parser.add_argument("--workers", type=int, metavar="N", help="simulators in parallel (default: one per core; with "
                        "--address one per CPU of the cluster, also of nodes that join; 0: in this process, without Ray)")
    parser.add_argument("--address", metavar="HOST:PORT", help="a running Ray cluster (default: a private local one)")
    parser.add_argument("--timeout", metavar="TIME", help="stop after this wall time, e.g. '30 min'")
    parser.add_argument("--trial-timeout", metavar="TIME", help="give a design up after this wall time and replace its worker "
                        "(default: the space's, 5 min)")
    parser.add_argument("--cache", metavar="FILE", help="costs.npz of an earlier study: its operator prices are reused")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow database or server (default: DIR/mlflow.db)")
    parser.add_argument("--storage", metavar="URL", help="Optuna database or journal file to which finished trials are "
                        "copied, for optuna-dashboard")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
