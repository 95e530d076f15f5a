import json

import pytest

from scripts.validate_vidur import main
from tests.shared import shared_file


@pytest.mark.slow
def test_every_step_of_both_recorded_schedulers_is_the_same(tmp_path):
    folder = shared_file("data/vidur/A34_workload.csv.gz").parent
    assert main([str(folder), "--json", str(tmp_path / "rows.json")]) == 0
    rows = {row["name"]: row["value"] for row in json.loads((tmp_path / "rows.json").read_text())}
    assert (rows["sarathi/steps"], rows["vllm/steps"]) == (10_379, 9_405)
    assert rows["sarathi/different_steps"] == rows["vllm/different_steps"] == 0
