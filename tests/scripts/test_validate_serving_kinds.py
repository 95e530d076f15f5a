"""The replay of runs of other shapes than the shared ones: two devices, mixtures of experts, both, and incomplete bundles."""

import json

import pytest

from scripts.validate_serving import main
from tests.importers.made_bundles import write_bundle, write_run

MOE, DENSE = "Qwen/Qwen3-30B-A3B-Instruct-2507", "Qwen/Qwen3-32B"


def replay(run, bundle, tmp_path):
    status = main(["--run", str(run), "--tables", str(bundle), "--json", str(tmp_path / "rows.json")])
    assert status in (0, 1)  # the recorded times are made up
    return {row["name"]: row["value"] for row in json.loads((tmp_path / "rows.json").read_text())}


def tpot_s(rows):
    return (rows["tpot/mean_error_pct"] / 100 + 1) * 0.47 / 19  # what write_run recorded


def test_one_token_of_a_mixture_of_experts_costs_what_its_tables_say(tmp_path):
    """One request alone: every decode step wakes 8 experts in each of 48 layers."""
    rows = replay(write_run(tmp_path / "run", MOE, requests=1), write_bundle(tmp_path / "bundle", MOE, experts=(128, 8)), tmp_path)
    layer_us = 2 * 5 + 42 + 2 * 5 + 5 + 32 + (20 + 8 * 6 + 8 / 50)  # norms, qkv, qk norms, rotary, output, experts
    gaps_us = 16 * 0.5  # kernels of a block and the pauses between them
    attention_us = 5 + 110 / 2000
    per_step_s = (48 * (layer_us + gaps_us + attention_us) + 5 + 5 + 500 + 25) * 1e-6
    assert tpot_s(rows) == pytest.approx(per_step_s * 1.012, rel=0.02)
    assert rows["requests/rejected"] == 0


def test_two_devices_share_the_experts_that_were_timed_on_one(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", MOE, tensors=(1, 2), experts=(128, 8))
    one, two = (tpot_s(replay(write_run(tmp_path / f"run{n}", MOE, tensor=n), bundle, tmp_path)) for n in (1, 2))
    dealt = tpot_s(replay(write_run(tmp_path / "dealt", MOE, tensor=2, enable_expert_parallel=True), bundle, tmp_path))
    all_reduces_s = 97 * 2 * 20e-6  # one after the embedding and two a layer, of two transfers each
    assert one / 2 + all_reduces_s * 0.9 < two < one + all_reduces_s * 1.1
    assert dealt == pytest.approx(two, rel=0.05)


def test_a_dense_model_on_two_devices(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", DENSE, tensors=(1, 2))
    rows = replay(write_run(tmp_path / "run", DENSE, tensor=2), bundle, tmp_path)
    assert 0.018 < tpot_s(rows) - 129 * 2 * 20e-6 < 0.025  # half of 65 GB at 1.8 TB/s, which no table may beat
    without_link = replay(write_run(tmp_path / "bare", DENSE, tensor=2, link=False), bundle, tmp_path)
    assert tpot_s(without_link) < tpot_s(rows)  # the preset's links are faster than 20 us a transfer


def test_layers_that_no_degree_changes_may_be_in_tp1_alone(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", DENSE, tensors=(1, 2))
    run = write_run(tmp_path / "run", DENSE, tensor=2)
    whole = replay(run, bundle, tmp_path)
    for file in ("dense.csv", "per_sequence.csv"):
        lines = (bundle / "tp2" / file).read_text().splitlines()
        left = [line for line in lines if line.split(",")[0] not in ("layernorm", "qk_norm", "final_layernorm", "sampler")]
        (bundle / "tp2" / file).write_text("\n".join(left))
    assert replay(run, bundle, tmp_path) == whole


def test_incomplete_bundles_are_refused_by_file_and_layer(tmp_path, capsys):
    run = write_run(tmp_path / "run", MOE)
    bundle = write_bundle(tmp_path / "bundle", MOE, experts=(128, 8))
    with (bundle / "tp1/dense.csv").open("a") as file:
        file.write("mamba_mixer,16,12.5\n")
    assert main(["--run", str(run), "--tables", str(bundle)]) == 2
    assert "dense.csv" in (text := capsys.readouterr().err) and "'mamba_mixer'" in text
    (bundle / "tp1/dense.csv").write_text("layer,tokens,time_us\nqkv_proj,1,5\n")
    assert main(["--run", str(run), "--tables", str(bundle)]) == 2
    assert "dense.csv: does not time layer 'o_proj'" in capsys.readouterr().err
    (bundle / "tp1/dense.csv").write_text("layer,tokens,time_us\nqkv_proj,1,5\no_proj,1,5\n")
    (bundle / "tp1/moe.csv").unlink()
    assert main(["--run", str(run), "--tables", str(bundle)]) == 2
    assert "moe.csv" in capsys.readouterr().err
