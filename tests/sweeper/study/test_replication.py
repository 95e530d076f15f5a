"""Replicated seeds from the search space to the results: what a trial says, what is proved, what files and screens show."""

import base64
import csv
import json
import math
import random
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from scripts.validate_noise import coverage, served
from simulator.analysis.bounds import bounds, mean_bounds
from simulator.analysis.rate_search import capacity
from simulator.inputs.errors import InputError
from simulator.pricing.cache import CostCache
from simulator.pricing.price import price
from simulator.simulate import simulate
from sweeper.api import Space, Study, run
from sweeper.commands.ending import print_ending
from sweeper.commands.noise import objective_noise
from sweeper.report.page import write_report
from sweeper.run.warm_start import warm_start
from sweeper.sinks.mlflow_labels import interval_ends
from sweeper.space.file import load_space
from sweeper.study.digest import digest
from sweeper.study.ending import Ending
from sweeper.study.replication import pseudo_values
from sweeper.study.results import write_results
from sweeper.study.settings import SweepSettings
from sweeper.study.trial import from_json_line
from sweeper.workers.evaluator import SimEvaluator, load_traces
from sweeper.workers.worker import Task
from tests.sweeper.spaces import space_of
from tests.sweeper.studies import finished

WORKLOAD = ("{arrivals: {process: poisson, rate: 20 requests/s}, requests: 150, "
            "prompt: {distribution: lognormal, mean: 600, cv: 1.0, low: 4, high: 8000}, "
            "output: {distribution: lognormal, mean: 220, cv: 0.8, low: 4, high: 2000}, REPLICATES}")
DESIGN = "{model: llama-3.1-8b, hardware: npu-base, slo: {ttft: 2 s, tpot: 100 ms}, workload: WORKLOAD}"
PARAMETERS = """  tp: {sets: [parallelism.tensor], ordinal: [2, 4]}
  max_num_seqs: {sets: [serving.max_num_seqs], ordinal: [16, 64, 128]}
  budget: {sets: [serving.max_num_batched_tokens], ordinal: [512, 520, 1024]}"""
REST = """constraints: {ttft: ttft_p99 <= 300 ms}
objectives: [{minimize: tpot_p95, unit: ms}, {minimize: capital}, {maximize: goodput / cost_per_hour, name: per_dollar}]
"""


def space_with(folder, replicates="replicates: 4", rest=REST):
    workload = WORKLOAD.replace("REPLICATES", replicates)
    return space_of(folder, PARAMETERS, design=DESIGN.replace("WORKLOAD", workload), rest=rest)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """(folder, space, trials) of every design of the space."""
    folder = tmp_path_factory.mktemp("replicated")
    space = space_with(folder)
    return folder / "study", space, finished(folder / "study", space, list(space.enumerate()))


def test_a_trial_is_the_mean_of_runs_with_the_next_seeds(study):
    _, space, trials = study
    trial = next(t for t in trials if t.parameters["tp"] == 4)
    design = space.design(trial.parameters)
    runs = []
    for seed in range(4):
        workload = design.workload.model_copy(update={"seed": seed, "replicates": None})
        runs.append(simulate(design.model_copy(update={"workload": workload})).metrics)
    for name in ("ttft_p99", "tpot_p95", "goodput", "cost_per_hour", "itl_p99"):
        values = [run[name] for run in runs]
        assert trial.metrics[name] == pytest.approx(np.mean(values), rel=1e-12)
        low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
        assert trial.half_widths[name] == pytest.approx((high - low) / 2, rel=1e-9)
    assert trial.metrics["capital"] == runs[0]["capital"]
    assert "capital" not in trial.half_widths
    assert trial.half_width("capital") == 0
    assert trial.replicates["tpot_p95"] == pytest.approx([1e3 * run["tpot_p95"] for run in runs], rel=1e-9)


def test_workers_of_a_ray_cluster_find_the_same_replicates(study, tmp_path, ray_cluster):
    """The whole way: search, two workers, ledger, MLflow, results; every trial as evaluated here, to the bit."""
    pytest.importorskip("ray")
    _, space, alone = study
    swept = run(Space(space), tmp_path / "swept", sampler="exhaustive", workers=2)
    trials = list(swept.trials())
    found = {tuple(t.parameters.items()): t for t in trials}
    assert len(found) == len(alone) == len(trials)
    for trial in alone:
        other = found[tuple(trial.parameters.items())]
        for field in ("status", "objectives", "metrics", "half_widths", "replicates", "unsure", "constraints"):
            assert getattr(other, field) == getattr(trial, field), (field, trial.parameters)
    widths = {t.number: t.half_widths.get("ttft_p99") for t in trials}
    assert swept.table().column("ttft_p99_half_width_s").to_pylist() == [widths[n] for n in range(len(trials))]
    with sqlite3.connect(tmp_path / "swept" / "mlflow.db") as connection:
        logged = {key for (key,) in connection.execute("select distinct key from metrics")}
    assert {"tpot_p95_ms.ci_low", "tpot_p95_ms.ci_high"} <= logged


def test_objectives_of_means_have_jackknife_intervals():
    """Of a ratio: pseudo-values by the textbook, n r - (n - 1) r without the k-th."""
    x, y = np.array([3.0, 4.0, 8.0]), np.array([1.0, 2.0, 2.5])
    means = {"x": x.mean(), "y": y.mean()}
    found = pseudo_values(lambda v: v["x"] / v["y"], means, {"x": x.tolist(), "y": y.tolist()}, 3)
    expected = [3 * x.mean() / y.mean() - 2 * np.delete(x, k).mean() / np.delete(y, k).mean() for k in range(3)]
    assert found == pytest.approx(expected)
    assert pseudo_values(lambda v: v["x"], means, {"x": x.tolist()}, 3) == pytest.approx(x.tolist())


def test_limits_within_the_noise_are_flagged_and_the_mean_decides(study):
    _, _, trials = study
    unsure = [t for t in trials if t.unsure]
    assert unsure, "the space is made so that some designs straddle the limit"
    for trial in trials:
        holds = trial.metrics["ttft_p99"] <= 0.3
        assert (trial.status == "complete") == holds
        near = abs(trial.metrics["ttft_p99"] - 0.3) <= trial.half_widths["ttft_p99"]
        assert trial.unsure == (["ttft"] if near else [])
        if near and not holds:
            assert "±" in trial.reason


def test_without_replicates_a_trial_says_what_it_did_before(tmp_path):
    space = space_with(tmp_path, "seed: 0")
    same = space_with(tmp_path, "replicates: 1")
    assert space.hash == same.hash
    trial = SimEvaluator(space, load_traces(space)).evaluate(Task(0, next(space.enumerate())))
    assert not {"half_widths", "samples", "replicates", "unsure"} & json.loads(trial.to_json_line()).keys()
    assert math.isnan(trial.half_width("tpot_p95"))
    assert space_with(tmp_path).hash != space.hash
    assert space_with(tmp_path).design(trial.parameters) != space.design(trial.parameters)


def test_a_line_of_the_ledger_holds_all(study):
    _, _, trials = study
    assert all(from_json_line(t.to_json_line()) == t for t in trials)


def test_bounds_hold_the_mean_and_proofs_are_right(study):
    _, space, trials = study
    evaluator = SimEvaluator(space, load_traces(space))
    proved = 0
    for trial in (t for t in trials if t.status == "complete"):
        design = space.design(trial.parameters)
        traces = evaluator._traces_of(design.workload)
        priced = price(design, CostCache())
        for name, (low, high) in mean_bounds([bounds(design, priced, trace) for trace in traces]).items():
            assert low <= trial.metrics[name] <= high, name
        own = {"tpot_p95": trial.objectives["tpot_p95"], "per_dollar": trial.objectives["per_dollar"]}
        for factor in (0.2, 0.95, 1.001):  # a rival that is so much better in both, at the same price
            rival = (own["tpot_p95"] * factor, trial.objectives["capital"], own["per_dollar"] / factor)
            found = evaluator.evaluate(Task(trial.number, trial.parameters, rivals=((99, rival),)))
            assert factor < 1 or found.status != "pruned", "a rival that is worse proves nothing"
            proved += found.status == "pruned"
    assert proved >= 4, "far better rivals prove most designs dominated"


def test_ties_reach_files_api_report_and_screens(study, capsys):
    folder, space, trials = study
    found = digest(space, folder / "trials.jsonl")
    write_results(folder, space, found)
    with (folder / "pareto.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["trial"]) for r in rows] == [t.number for t in found.front]
    first = found.front[0]
    assert float(rows[0]["tpot_p95_half_width_ms"]) == pytest.approx(first.half_width("tpot_p95"))
    ties = Study(folder).ties()
    assert ties
    for row in rows:
        assert [int(n) for n in row["ties_with"].split()] == ties.get(int(row["trial"]), [])
    by_number = {t.number: t for t in trials}
    for number, others in ties.items():
        for other in others:
            assert number in ties[other]
            a, b = by_number[number], by_number[other]
            noise = objective_noise(space, a, b)
            assert all(abs(a.objectives[n] - b.objectives[n]) <= noise[n] for n in noise)
    on_front = {t.number for t in found.front}
    assert all(on_front & {n, *others} for n, others in ties.items())
    table = Study(folder).table().to_pydict()
    assert table["ttft_p99_half_width_s"] == [t.half_widths.get("ttft_p99", 0.0) for t in trials]
    assert [t is not None for t in table["ties_with"]] == [t.number in ties for t in trials]
    text = write_report(folder, space, found, 0).read_text(encoding="utf-8")
    shown = json.loads(text.split('id="data">')[1].split("</script>")[0])["trials"]
    at = [t.number for t in trials].index(first.number)
    assert shown["ties"].get(str(at), "") == " ".join(map(str, ties.get(first.number, [])))
    widths = np.frombuffer(base64.b64decode(shown["halfWidths"]["tpot_p95"]["data"]), dtype="<f4")
    assert widths[at] == pytest.approx(first.half_width("tpot_p95"), rel=1e-5)
    ends = interval_ends(first, {"tpot_p95": "tpot_p95_ms"})
    assert ends["tpot_p95_ms.ci_high"] - ends["tpot_p95_ms.ci_low"] == pytest.approx(2 * first.half_width("tpot_p95"))
    summary = {"trials": 18, "feasible": 9, "infeasible": 9, "failed": 0, "trials_this_run": 18, "seconds": 1.0,
               "trials_per_s": 18.0, "rejected": {}, "pruned_by_bounds": 0, "cache_hits": 0,
               "cache_misses": 0, "cache_bytes": 0, "cache_computed_s": 0.0, "cache_saved_s": 0.0}
    console = Console(width=140)
    print_ending(console, folder, space, SweepSettings(18, 1, 0, "random"), Ending("complete", found, summary))
    said = capsys.readouterr().out
    assert f"{first.objectives['tpot_p95']:.4g} ± {first.half_width('tpot_p95'):.2g}" in said
    assert "ties with" in said
    assert "over 4 replicates" in said


def test_designs_within_the_noise_behind_the_front_are_found(study):
    """By the definition, over all pairs, one by one."""
    folder, space, trials = study
    found = digest(space, folder / "trials.jsonl")
    signs = {"tpot_p95": 1, "capital": 1, "per_dollar": -1}
    expected = set()
    for trial in (t for t in trials if t.status == "complete"):
        ahead = [f for f in found.front if f.objectives != trial.objectives and all(
            s * f.objectives[n] <= s * trial.objectives[n] for n, s in signs.items())]
        noise = [(f, objective_noise(space, f, trial)) for f in ahead]
        if ahead and all(abs(f.objectives[n] - trial.objectives[n]) <= w[n] for f, w in noise for n in w):
            expected.add(trial.number)
    assert {t.number for t in found.near} == expected


def test_warm_starts_take_replicated_results_over_where_their_replicates_were_kept(study, tmp_path):
    folder, space, trials = study
    same = warm_start([folder], space)
    assert len(same.taken) == len(trials)
    assert same.taken[3].replicates == trials[3].replicates
    fewer = space_with(tmp_path, rest="objectives: [{minimize: tpot_p95}, {minimize: cost_per_hour}]")
    assert len(warm_start([folder], fewer).taken) == len(trials)
    other = space_with(tmp_path, rest="objectives: [{minimize: e2e_p99}, {minimize: capital}]")
    assert warm_start([folder], other).taken == []
    assert warm_start([folder], space_with(tmp_path, "replicates: 5")).taken == []


def test_capacity_is_searched_on_the_same_replicates(tmp_path):
    rest = "capacity: {slo: {ttft_p99: 600 ms}, tolerance: 5 %}\nobjectives: [{maximize: capacity}, {minimize: capital}]"
    space = space_with(tmp_path, "replicates: 2", rest)
    assert space.capacity.seeds == 2
    trial = SimEvaluator(space, load_traces(space)).evaluate(Task(0, next(space.enumerate())))
    found = capacity(space.design(trial.parameters), replace(space.capacity, seeds=2))
    assert trial.replicates["capacity"] == pytest.approx([t.rate for t in found.thresholds])
    assert trial.objectives["capacity"] == pytest.approx(found.metrics["capacity"])
    assert trial.metrics["capacity_high"] - trial.metrics["capacity"] == pytest.approx(trial.half_width("capacity"), rel=1e-4)
    with pytest.raises(InputError, match=r"capacity.seeds: must be the workload's replicates \(2\)"):
        space_with(tmp_path, "replicates: 2", rest.replace("tolerance", "seeds: 3, tolerance"))


@pytest.mark.parametrize(("changes", "said"), [
    (("replicates: 4", "replicates: 0"), "design.workload.replicates"),
    (("  tp:", "  workload.replicates: {ordinal: [2, 4]}\n  tp:"), "cannot vary"),
    (("  tp:", "  load: {sets: [workload], choices: [chat-200, chat-1k]}\n  tp:"), "has 1 replicates, the base design 4"),
])
def test_mistakes_are_one_line(tmp_path, changes, said):
    design = DESIGN.replace("WORKLOAD", WORKLOAD.replace("REPLICATES", "replicates: 4"))
    text = f"design: {design}\nparameters:\n{PARAMETERS}\n"
    (tmp_path / "space.yaml").write_text((text + REST).replace(*changes))
    with pytest.raises(InputError, match=said):
        load_space(tmp_path / "space.yaml")


def test_intervals_of_the_simulator_hold_the_truth():
    """The truth is the mean of 400 runs; 80 groups of 5. A 95 % interval is outside 10 or more times of 80 in 1 % of cases."""
    values = served(400, {})
    assert all(coverage(row, 5) >= 70 / 80 for row in values)
    rng = random.Random(0)  # and of a known distribution
    known = np.array([rng.gauss(0, 1) for _ in range(10_000)])
    assert coverage(known - known.mean(), 5) == pytest.approx(0.95, abs=0.02)


def test_the_shipped_space_loads():
    assert load_space("replicated").replicates == 5
