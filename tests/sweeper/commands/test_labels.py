"""Every list, table and report says what amounts, time and power rest on."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from sweeper.__main__ import main
from sweeper.commands.ending import print_ending
from sweeper.commands.show import load_study
from sweeper.report.page import write_report
from sweeper.sinks.mlflow_labels import labels_of
from sweeper.study import ledger
from sweeper.study.ending import Ending
from sweeper.study.results import write_results
from sweeper.study.settings import SweepSettings
from tests.sweeper.spaces import space_of
from tests.sweeper.studies import finished

NPU, H100 = "npu-base: time and power datasheet only", "h100-sxm: time and power calibrated on measurements"
BIG = "TFLOP/s per mm2 (16-bit peak) is"  # of the best shipped silicon of a node


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large and a usual NPU, and an H100 as baseline, at their bill of materials."""
    path = tmp_path_factory.mktemp("labels")
    space = space_of(path, "  array: {sets: [hardware.npu.array], ordinal: [[128, 128], [256, 256]]}",
                     design="{base: npu-chat, hardware: {base: npu-base, npu: {arrays: 16}}, workload: chat-200, "
                            "costs: {base: default, cost_basis: owned_bom}}",
                     rest="objectives: [{minimize: tpot_p95, unit: ms}, {minimize: cost_per_hour}]\n"
                          "baselines: {h100: {design: h100-chat}}")
    finished(path / "study", space, [{"array": [128, 128]}, {"array": [256, 256]}])
    return path / "study"


@pytest.mark.parametrize("arguments", [["best"], ["explain", "2"], ["export", "2", "--to", "sheet"]], ids=lambda a: a[0])
def test_what_is_told_of_a_design(folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([arguments[0], str(folder), *arguments[1:]]) == 0
    told = capsys.readouterr().out
    assert "datasheet only" in told and BIG in told
    assert "BOM" in told or "owned, at bill of materials" in told


def test_a_comparison_with_a_baseline(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(folder), "1", "--against", "h100"]) == 0
    told = capsys.readouterr().out
    assert "capital (USD, BOM)" in told
    assert "trial 1 against h100:\n  as it is: tpot_p95 " in told
    assert "  at the design's precision and engine settings: tpot_p95 " in told


def test_exported_json_names_basis_and_evidence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(folder), "0", "--to", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["cost_basis"], told["evidence"]["time"]) == ("owned_bom", "calibrated on measurements")


def test_the_end_of_a_sweep(folder: Path) -> None:
    space, found = load_study(folder)
    counts = dict.fromkeys(("trials", "feasible", "infeasible", "failed", "trials_this_run", "seconds", "trials_per_s", "cache_hits",
                            "pruned_by_bounds", "pruned_by_short_trace", "cache_misses", "cache_bytes", "cache_computed_s",
                            "cache_saved_s"), 1.0)
    out = io.StringIO()
    print_ending(Console(file=out, width=200), folder, space, SweepSettings(3, 1, 0, "random"),
                 Ending("complete", found, {**counts, "rejected": {}}))
    told = out.getvalue()
    for text in (NPU, H100, "USD/h, BOM", "against the baselines; amounts: owned, at bill of materials", "h100 as it is, devices 1: ",
                 " a device)", "h100 at the design's precision and engine settings, devices 1: ", "trial 2: "):
        assert text in told, text
    assert BIG in told


def test_the_report_page(folder: Path) -> None:
    space, found = load_study(folder)
    write_results(folder, space, found)
    text = write_report(folder, space, found, 60.0).read_text(encoding="utf-8")
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert set(data["rests"]) == {NPU, H100} and any(BIG in line for line in data["remarks"])
    assert ["amounts of money", "owned, at bill of materials"] in data["facts"]
    assert data["objectives"][1]["label"] == "cost_per_hour (USD/h, BOM)"
    assert "capital (USD, BOM)" in [m["label"] for m in data["metrics"]]
    for pick in data["decision"]["picks"]:
        assert pick["rests"] == [NPU]
        assert [what.split(" (")[0] for what, _ in pick["compared"]] == [
            "h100 as it is", "h100 at the design's precision and engine settings"]


def test_mlflow(folder: Path) -> None:
    space, found = load_study(folder)
    labels = labels_of(space, folder, ledger.read_header(folder / ledger.FILE_NAME))
    assert labels.tags["sweeper.cost_basis"] == "owned, at bill of materials"
    assert "`cost_per_hour_usd` = cost_per_hour (BOM)" in labels.note and "owned, at bill of materials" in labels.note
    tags = {t.number: labels.tags_of(t) for t in found.trials()}
    assert tags[0]["sweeper.time_rests_on"] == tags[0]["sweeper.power_rests_on"] == "calibrated on measurements"
    assert tags[1]["sweeper.time_rests_on"] == tags[1]["sweeper.power_rests_on"] == "datasheet only"
    assert {t["sweeper.cost_basis"] for t in tags.values()} == {"owned, at bill of materials"}


def test_the_list_of_hardware(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hardware"]) == 0
    rows = {row.split()[0]: row for row in capsys.readouterr().out.splitlines() if row.strip()}
    assert rows["h100-sxm"].count("calibrated on measurements") == 2
    assert rows["npu-base"].count("datasheet only") == 2
