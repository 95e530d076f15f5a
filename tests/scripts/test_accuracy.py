from scripts.accuracy import ROOT, page, split, summary, table
from scripts.accuracy_sections import Section, sections
from scripts.report import row

ROWS = [row("gemm/mape", 7.128, limit=10), row("gemm/rows", 2744, ""), row("attention/tp1/mape", 12.5, limit=10),
        row("attention/tp1/bias", -3, absolute=True, limit=5)]


def test_rows_become_lines_and_measures_columns_with_missed_bars_in_bold():
    assert table(ROWS) == [
        "| | mape | rows | bias |",
        "| --- | --- | --- | --- |",
        "| gemm | 7.13 % (<= 10) | 2,744 |  |",
        "| attention/tp1 | **12.50 % (<= 10)** |  | -3 % (\\|x\\| <= 5) |",
    ]


def test_the_page_says_first_what_misses_its_bar_and_gives_the_command():
    text = page([(Section("Operators", "validate_operators.py", ("data/x.csv", "--system", "y"), "About.", "Why."), ROWS)])
    assert "2 of 3 bars are met. Missed:" in text
    assert "| Operators | attention/tp1/mape | 12.50 % | <= 10 % |" in text
    assert "```sh\npython scripts/validate_operators.py $DATA/data/x.csv --system y\n```" in text
    assert text.index("12.50 % | <= 10 %") < text.index("## Operators") < text.index("About.") < text.index("Why.")


def test_a_section_begins_with_a_line_per_quantity():
    rows = [row("gemm/mape", 7.128, limit=10), row("gemm/median", -1.5), row("gemm/p90", 12), row("gemm/rows", 2744, ""),
            row("gemm/noise", 0.5), row("gemm/below_roofline", 0), row("all/tpot_mape", 5), row("all/tpot_mape_peer", 13.7),
            row("all/tpot_points", 8, "points"), row("h100/power/mape", 6), row("h100/rows", 35, ""), row("tp1/unfitted_mape", 9)]
    found, others = split(rows)
    assert summary(found) == [
        "| | rows | signed median | MAPE | p90 | noise | best peer's MAPE |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| gemm | 2,744 | -1.50 % | 7.13 % (<= 10) | 12 % | 0.50 % | - |",
        "| all/tpot | 8 points | - | 5 % | - | - | 13.70 % |",
        "| h100/power | 35 | - | 6 % | - | - | - |",
    ]
    assert [r["name"] for r in others] == ["gemm/below_roofline", "tp1/unfitted_mape"]


def test_every_validation_has_a_section(tmp_path):
    (tmp_path / "data/vllm_runs/A-Model-8B").mkdir(parents=True)
    for file in ("A-Model-8B/llmservingsim_sim.csv.gz", "requests.jsonl.gz"):
        (tmp_path / "data/vllm_runs" / file).write_text("")
    (tmp_path / "data/vllm_runs/B-Model-8B").mkdir()  # no tables: left out
    tables = tmp_path / "data/llmservingsim_tables/A/Model-8B"
    tables.mkdir(parents=True)
    (tables / "meta.yaml").write_text("")
    found = sections(tmp_path)
    assert {p.name for p in (ROOT / "scripts").glob("validate_*.py")} == {s.script for s in found}
    assert [s.arguments[1] for s in found if s.script == "validate_serving.py"] == ["data/vllm_runs/A-Model-8B"]
