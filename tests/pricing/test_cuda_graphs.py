import json

import numpy as np

from simulator.design.engine_defaults.graphs import GraphCover
from simulator.pricing.cuda_graphs import capture_sizes, exposed_launches_ns, graphless, padded
from tests.shared import shared_file


def test_capture_sizes_are_those_that_vllm_resolved():
    meta = json.loads(shared_file("data/vllm_runs/RTX4090-Llama-3.1-8B/meta.json").read_text())
    assert list(capture_sizes(256, 2048)) == meta["resolved_config"]["compilation_config"]["cudagraph_capture_sizes"]


def test_rows_run_at_the_next_captured_size_and_unpadded_above_the_last():
    sizes = GraphCover(capture_sizes(256, 2048))
    assert padded(np.array([0, 1, 3, 25, 257, 512, 513]), sizes).tolist() == [0, 1, 4, 32, 272, 512, 513]
    assert graphless(np.array([1, 512, 513]), sizes).tolist() == [False, False, True]
    assert padded(np.array([3, 25]), GraphCover()).tolist() == [3, 25]


def test_a_step_without_a_graph_lasts_at_least_as_long_as_its_launches():
    linear_ns = np.array([0, 10_000, 20_000, 90_000])
    assert exposed_launches_ns(linear_ns, [4], 15e-6, GraphCover((1, 2))).tolist() == [[0, 0, 0, 0]]
    assert exposed_launches_ns(linear_ns, [4], 30e-6, GraphCover((1,))).tolist() == [[0, 0, 100_000, 30_000]]
    assert exposed_launches_ns(linear_ns, [3, 1], 30e-6, GraphCover((1,))).tolist() == [[0, 0, 75_000, 22_500], [0, 0, 25_000, 7_500]]
    assert not exposed_launches_ns(linear_ns, [4], 30e-6, GraphCover()).any()  # graphs are not modelled
