from scripts.accuracy import ROOT, page, table
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
