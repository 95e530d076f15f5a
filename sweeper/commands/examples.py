"""The examples at the end of `--help` of each command."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

EXAMPLES = {
    "run": """\
  python -m sweeper run search_spaces/quick.yaml
  python -m sweeper run search_spaces/npu_pim.yaml --trials 400 --workers 8 --set workload.rate="4 requests/s"
  python -m sweeper run my_space.yaml --out runs/second --cache runs/first/costs.npz""",
    "resume": """\
  python -m sweeper resume runs/npu_pim
  python -m sweeper resume runs/npu_pim --trials 1000""",
    "validate": """\
  python -m sweeper validate search_spaces/npu_pim.yaml
  python -m sweeper validate npu_pim --set workload.rate="4 requests/s" """,
    "report": "  python -m sweeper report runs/quick",
    "best": "  python -m sweeper best runs/quick",
    "explain": """\
  python -m sweeper explain runs/quick 3
  python -m sweeper explain runs/quick 3 --against 0""",
    "export": """\
  python -m sweeper export runs/quick 4 --to yaml --output design.yaml
  python -m sweeper export runs/gpu_cluster 17 --to vllm""",
    "ui": "  python -m sweeper ui runs/quick --port 5001",
    "spaces": "  python -m sweeper spaces",
    "models": "  python -m sweeper models",
    "hardware": "  python -m sweeper hardware",
    "workloads": "  python -m sweeper workloads",
    "schema": """\
  python -m sweeper schema space > space.schema.json
  then, as the first line of a search space: # yaml-language-server: $schema=space.schema.json""",
    "doctor": "  python -m sweeper doctor",
    "completion": """\
  bash:  python -m sweeper completion bash > ~/.local/share/bash-completion/completions/sweeper
  zsh:   python -m sweeper completion zsh > ~/.zfunc/_sweeper     (a folder of your $fpath)
  fish:  python -m sweeper completion fish > ~/.config/fish/completions/sweeper.fish""",
}


def add_examples(commands: Mapping[str, argparse.ArgumentParser]) -> None:
    """Ends the help of every command with its examples."""
    for name, parser in commands.items():
        if name in EXAMPLES:
            parser.epilog = f"examples:\n{EXAMPLES[name].rstrip()}"
            parser.formatter_class = argparse.RawDescriptionHelpFormatter
