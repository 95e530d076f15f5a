"""The example metric and sampler, installed as a package would be."""

import sys
import tomllib
from pathlib import Path

import pytest

from simulator.design.load import CONFIGS, load_design
from simulator.inputs.errors import InputError
from simulator.results import metric_plugins
from simulator.results.metric_plugins import MetricPlugin
from simulator.results.metrics import ALL_METRICS
from simulator.simulate import simulate
from sweeper.search.samplers import build_proposer
from sweeper.space.file import load_space
from sweeper.study.trial import Trial

EXAMPLES = CONFIGS.parent / "examples" / "plugins"
GROUPS = ("llm_serving_sweeper.metrics", "llm_serving_sweeper.samplers")


def install(site: Path, entry_points: dict[str, dict[str, str]]) -> None:
    """Writes the metadata that installing a package with these entry points writes."""
    info = site / "my_plugins-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plugins\nVersion: 1.0\n")
    lines = [line for group, points in entry_points.items()
             for line in (f"[{group}]", *(f"{name} = {target}" for name, target in points.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def declare(tmp_path, monkeypatch):
    def declared(entry_points):
        install(tmp_path / "site", entry_points)
        monkeypatch.syspath_prepend(str(EXAMPLES))
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        metric_plugins.metric_plugins.cache_clear()

    before = dict(ALL_METRICS)
    yield declared
    ALL_METRICS.clear()
    ALL_METRICS.update(before)
    metric_plugins.metric_plugins.cache_clear()
    for name in [n for n in sys.modules if n.startswith("my_plugins")]:
        del sys.modules[name]


@pytest.fixture
def installed(declare):
    points = tomllib.loads((EXAMPLES / "pyproject.toml").read_text())["project"]["entry-points"]
    declare({group: points[group] for group in GROUPS})


SPACE = """
design: {base: npu-chat, workload: chat-200}
parameters: {parallelism.tensor: {ordinal: [1, 2, 4]}, serving.max_num_seqs: {ordinal: [8, 16, 32, 64]}}
constraints: [ttft_spread <= 10 s]
objectives: [{minimize: ttft_spread, unit: ms}, {minimize: cost_per_hour}]
study: {sampler: neighbours}
"""


def test_a_metric_is_measured_and_stands_in_objectives_and_constraints(installed, tmp_path):
    metrics = simulate(load_design("npu-chat", {"workload": "chat-200"})).metrics
    assert metrics["ttft_spread"] == metrics["ttft_p99"] - metrics["ttft_p50"]
    (tmp_path / "space.yaml").write_text(SPACE)
    space = load_space(tmp_path / "space.yaml")
    assert space.objectives[0].value({"ttft_spread": 0.25}) == 250.0
    assert ALL_METRICS["ttft_spread"].column == "ttft_spread_s"


def test_a_sampler_is_found_by_name_and_proposes_points_of_the_space(installed, tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    space = load_space(tmp_path / "space.yaml")
    assert space.study.sampler == "neighbours"
    runs = []
    for _ in range(2):
        search = build_proposer("neighbours", space, seed=1, in_flight=1)
        points = []
        for number in range(12):
            proposal = search.next()
            assert proposal.point == space.canonical(proposal.point)
            points.append(proposal.point)
            search.finished(proposal, Trial(number, proposal.point, "complete", objectives={"ttft_spread": 1.0, "cost_per_hour": 1.0}))
        runs.append(points)
    assert runs[0] == runs[1] and len({str(p) for p in runs[0]}) > 5


def test_an_unknown_sampler_names_the_nearest(installed, capsys):
    from sweeper.__main__ import main

    assert main(["run", "quick", "--sampler", "neighbors"]) == 2
    assert capsys.readouterr().err == "error: --sampler: unknown sampler 'neighbors'; did you mean 'neighbours'?\n"


@pytest.mark.parametrize(("points", "words"), [
    ({"llm_serving_sweeper.metrics": {"goodput": "my_plugins.metrics:ttft_spread"}}, "no built-in metric has"),
    ({"llm_serving_sweeper.metrics": {"mine": "my_plugins.metrics:nothing"}}, "cannot be loaded"),
    ({"llm_serving_sweeper.metrics": {"mine": "my_plugins.metrics:Result"}}, "must be a simulator.results.metric_plugins.MetricPlugin"),
    ({"llm_serving_sweeper.samplers": {"mine": "my_plugins.metrics:Result"}}, "cannot be built"),
])
def test_broken_plugins_are_told_in_one_line(declare, points, words):
    declare(points)
    with pytest.raises(InputError) as error:
        metric_plugins.metric_plugins()
        build_proposer("mine", load_space("quick"), seed=0, in_flight=1)
    assert words in str(error.value)


def test_a_metric_that_fails_names_itself(declare, monkeypatch):
    declare({"llm_serving_sweeper.metrics": {"mine": "my_plugins.metrics:ttft_spread"}})
    import my_plugins.metrics as module

    monkeypatch.setattr(module, "ttft_spread", MetricPlugin("s", "always fails", lambda design, result: 1 / 0))
    with pytest.raises(InputError, match="metric plug-in 'mine' failed: ZeroDivisionError"):
        simulate(load_design("npu-chat", {"workload": "chat-200"}))
