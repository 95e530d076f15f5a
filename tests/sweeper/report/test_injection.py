"""Text of a space's author stays text: in the report, in MLflow's note and in CSV files."""

from __future__ import annotations

import csv
from html.parser import HTMLParser

from sweeper.report.page import write_report
from sweeper.sinks.mlflow_labels import note
from sweeper.study.digest import digest
from sweeper.study.results import write_results
from tests.sweeper.spaces import OBJECTIVES, space_of
from tests.sweeper.studies import finished

PAYLOADS = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<!--", "\u2028]]>", "{{7*7}}", "javascript:alert(1)"]
FORMULAS = ["=1+1", "+cmd|'/C calc'!A0", "-2+3", "@SUM(A1)", "\t=1"]


class Elements(HTMLParser):
    """Names and attributes of every element of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def elements(folder, hostile: str):
    rest = f"description: {hostile!r}\nname: small\n{OBJECTIVES}" if hostile else f"name: small\n{OBJECTIVES}"
    choices = ["bf16", "fp8"]
    space = space_of(folder, f"  precision.weights: {{choices: {choices}}}", rest=rest, design="{base: npu-chat, workload: chat-200}")
    finished(folder / "out", space, [{"precision.weights": "bf16"}, {"precision.weights": "fp8"}])
    found = digest(space, folder / "out" / "trials.jsonl")
    write_results(folder / "out", space, found)
    page = Elements()
    page.feed(write_report(folder / "out", space, found, budget_s=0.1).read_text())
    assert "<" not in note(space).partition("- minimize")[0]
    return page.found


def test_a_report_has_the_same_elements_whatever_the_words_are(tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "hostile").mkdir()
    assert elements(tmp_path / "hostile", " ".join(PAYLOADS)) == elements(tmp_path / "plain", "")


def test_no_cell_of_a_csv_file_is_a_formula(tmp_path):
    lines = "\n".join(f"  p{i}: {{sets: [workload.name], choices: [{text!r}, 'b{i}']}}" for i, text in enumerate(FORMULAS[:1]))
    space = space_of(tmp_path, lines, design="{base: npu-chat, workload: chat-200}")
    finished(tmp_path / "out", space, [{"p0": FORMULAS[0]}, {"p0": "b0"}])
    write_results(tmp_path / "out", space, digest(space, tmp_path / "out" / "trials.jsonl"))
    with (tmp_path / "out" / "pareto.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) > 1
    for row in rows[1:]:
        for cell in row:
            assert not cell.startswith(("=", "+", "@", "\t")), cell
