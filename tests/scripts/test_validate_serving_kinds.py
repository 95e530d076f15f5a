"""The replay of runs of other shapes than the shared ones: two devices, mixtures of experts, both, and incomplete bundles."""

import json

import pytest

from scripts.validate_serving import main
from tests.importers.made_bundles import write_bundle, write_rows, write_run

ALL_REDUCE_S = 2 * 16.1e-6  # the least that two RTX PRO 6000 take (configs/hardware/rtx-pro-6000.yaml)
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
    layer_us = 2 * 5 + 42 + 5 + 5 + 32 + (20 + 8 * 6 + 8 / 50)  # norms, qkv, both qk norms in one, rotary, output, experts
    gaps_us = 16 * 0.5  # kernels of a block and the pauses between them
    attention_us = 5 + 110 / 2000
    per_step_s = (48 * (layer_us + gaps_us + attention_us) + 5 + 5 + 500 + 25) * 1e-6
    assert tpot_s(rows) == pytest.approx(per_step_s * 1.012, rel=0.02)
    assert rows["requests/rejected"] == 0


def test_two_devices_share_the_experts_that_were_timed_on_one(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", MOE, tensors=(1, 2), experts=(128, 8))
    one, two = (tpot_s(replay(write_run(tmp_path / f"run{n}", MOE, tensor=n), bundle, tmp_path)) for n in (1, 2))
    dealt = tpot_s(replay(write_run(tmp_path / "dealt", MOE, tensor=2, enable_expert_parallel=True), bundle, tmp_path))
    all_reduces_s = 97 * ALL_REDUCE_S  # one after the embedding and two a layer
    assert one / 2 + all_reduces_s * 0.9 < two < one + all_reduces_s * 1.1
    assert dealt == pytest.approx(two, rel=0.05)


def test_two_engines_share_their_experts(tmp_path):
    """One request: the engine that has it decodes one token a step, the other runs a dummy token, and 64 experts of each
    see both. What a device with 64 experts takes for two tokens is what the whole block takes for one over as many experts."""
    bundle = write_bundle(tmp_path / "bundle", MOE, tensors=(1,), experts=(128, 8))
    rows = replay(write_run(tmp_path / "run", MOE, requests=1, instances=2, data_parallel_size=2, enable_expert_parallel=True),
                  bundle, tmp_path)
    awake = 8  # expected are 7.3, the table knows 8 and more
    layer_us = 2 * 5 + 42 + 5 + 5 + 32 + (20 + awake * 6 + 8 / 50)
    exchange_us = 2 * (6.6 + 12.8)  # an all-gather and a reduce-scatter, of one transfer each
    step_s = (48 * (layer_us + 16 * 0.5 + 5 + 110 / 2000) + 5 + 5 + 500 + 25) * 1.012e-6 + 48 * exchange_us * 1e-6
    assert tpot_s(rows) == pytest.approx(step_s, rel=0.03)


def test_engines_halve_what_each_holds_of_the_experts_and_not_their_time_for_all_of_them(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", MOE, tensors=(1,), experts=(128, 8))
    one = replay(write_run(tmp_path / "one", MOE), bundle, tmp_path)
    two = replay(write_run(tmp_path / "two", MOE, instances=2, data_parallel_size=2, enable_expert_parallel=True), bundle, tmp_path)
    cut = replay(write_run(tmp_path / "cut", MOE, data_parallel_size=2), bundle, tmp_path)
    assert 0.5 < tpot_s(two) / tpot_s(one) < 1  # half of the experts' time and a little more for the exchange
    assert tpot_s(cut) == pytest.approx(tpot_s(two), rel=0.05)


def test_rows_of_the_degree_of_expert_parallelism_are_taken_where_they_were_profiled(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", MOE, tensors=(1, 2), experts=(128, 8))
    run = write_run(tmp_path / "run", MOE, tensor=2, enable_expert_parallel=True)
    whole = replay(run, bundle, tmp_path)
    path = bundle / "tp1/moe.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join(["ep," + header, *("1," + line for line in lines)]))
    assert replay(run, bundle, tmp_path) == whole
    own = [(2 * int(t), int(a), us) for t, a, us in (line.split(",") for line in lines) if int(a) <= 64]  # the same work, said as ep 2
    slower = [f"2,{t},{a},{us}" for t, a, us in own] + [f"1,{line.rsplit(',', 1)[0]},9e5" for line in lines]
    path.write_text("\n".join(["ep," + header, *slower]))
    assert replay(run, bundle, tmp_path) == pytest.approx(whole)


def test_attention_of_later_profilers_says_the_same_in_other_columns(tmp_path):
    bundle, run = write_bundle(tmp_path / "bundle", DENSE), write_run(tmp_path / "run", DENSE)
    before = replay(run, bundle, tmp_path)
    path = bundle / "tp1/attention.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    lines = [f"attention,{c},{float(k) + float(c) / 2},{n},{kv},{q},{float(us) * q}" for c, k, n, kv, us in rows for q in (1, 4)]
    path.write_text("\n".join(["layer,prefill_chunk,prefill_key,n_decode,kv_decode,decode_q_len,time_us", *lines]))
    assert replay(run, bundle, tmp_path) == before


def test_a_run_beyond_the_profiled_shapes_is_extrapolated_and_said(tmp_path, capsys):
    bundle = write_bundle(tmp_path / "bundle", DENSE)
    run = write_run(tmp_path / "run", DENSE, requests=300, max_num_seqs=300, max_num_batched_tokens=8192, max_model_len=40960)
    lines = [json.loads(line) for line in (run / "requests.jsonl").read_text().splitlines()]
    lines[0]["input_toks"] = 20_000
    (run / "requests.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows = replay(run, bundle, tmp_path)
    text = capsys.readouterr().err
    for note in ("tokens a step: up to 8,192, profiled to 2,048", "sequences a step: up to 300, profiled to 256",
                 "tokens of context: up to 20,020, profiled to 16,384", "tokens of a chunk: up to 8,192, profiled to 2,048"):
        assert f"extrapolated, {note}" in text
    assert rows["requests/rejected"] == 0


def test_bundles_of_another_model_or_format_and_engines_that_share_nothing_are_refused(tmp_path, capsys):
    def refusal(run, bundle):
        assert main(["--run", str(run), "--tables", str(bundle)]) == 2
        return capsys.readouterr().err

    moe = write_bundle(tmp_path / "moe", MOE, experts=(128, 8))
    dense = write_bundle(tmp_path / "dense", DENSE)
    assert "profiles Qwen/Qwen3-30B-A3B" in refusal(write_run(tmp_path / "other", DENSE), moe)
    assert "share nothing" in refusal(write_run(tmp_path / "apart", DENSE, data_parallel_size=2), dense)
    (dense / "meta.yaml").write_text((dense / "meta.yaml").read_text() + "variant: bf16-kvfp8\n")
    assert "profiled as bf16-kvfp8" in refusal(write_run(tmp_path / "kv16", DENSE), dense)
    assert main(["--run", str(write_run(tmp_path / "kv8", DENSE, kv_cache_dtype="fp8")), "--tables", str(dense)]) == 1
    write_rows(dense / "tp1/linear_attention.csv", "layer,prefill_tokens,n_decode,time_us", [("gdn", 1, 0, 5)])
    assert "linear_attention.csv" in refusal(tmp_path / "kv8", dense)


def test_a_dense_model_on_two_devices(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", DENSE, tensors=(1, 2))
    rows = replay(write_run(tmp_path / "run", DENSE, tensor=2), bundle, tmp_path)
    assert 0.018 < tpot_s(rows) - 129 * ALL_REDUCE_S < 0.025  # half of 65 GB at 1.8 TB/s, which no table may beat


def test_a_bundle_without_uneven_batches_and_a_run_without_its_optional_files(tmp_path):
    """No skew.csv, timeseries.csv, cluster.json or workload: the device's name is that of the bundle."""
    bundle, run = write_bundle(tmp_path / "bundle", DENSE), write_run(tmp_path / "run", DENSE)
    before = replay(run, bundle, tmp_path)
    (run / "cluster.json").unlink()
    assert replay(run, bundle, tmp_path) == before


def test_uneven_contexts_cost_what_skew_csv_says(tmp_path):
    """Two decodes, one twice as long as the mean at most: 3 us a layer more for every token of the difference to the mean."""
    bundle, run = write_bundle(tmp_path / "bundle", DENSE), write_run(tmp_path / "run", DENSE, requests=2)
    lines = [json.loads(line) for line in (run / "requests.jsonl").read_text().splitlines()]
    lines[0]["input_toks"], lines[1]["queued_ts"] = 1100, 0.0
    (run / "requests.jsonl").write_text("\n".join(map(json.dumps, lines)))
    even = replay(run, bundle, tmp_path)
    write_rows(bundle / "tp1/skew.csv", "n,nb,pc,kp,kv_big,kv_mean,t_mean_us,t_skew_us",
               [(n, 1, 0, 0, 2 * mean, mean, 30, 30 + 3 * mean * 3 / 1000) for n in (2, 4) for mean in (256, 1024)])
    added_s = tpot_s(replay(run, bundle, tmp_path)) - tpot_s(even)
    assert added_s == pytest.approx(64 * 500 * 3e-3 * 1e-6 * 1.012, rel=0.02)  # contexts 1,100 and 100


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
