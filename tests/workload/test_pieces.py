"""A workload read in pieces is the workload read at once."""

import gzip

import numpy as np
import pytest

from simulator.design.records.workload import Workload
from simulator.inputs.errors import InputError
from simulator.workload.load import load_trace
from simulator.workload.pieces import exceeds, has_contents, pieces_of

FIXED = {"distribution": "fixed", "mean": 40}
LENGTHS = {
    "fixed": FIXED,
    "uniform": {"distribution": "uniform", "low": 3, "high": 70},
    "lognormal": {"distribution": "lognormal", "mean": 90, "cv": 1.4, "high": 300},
    "empirical": {"distribution": "empirical", "values": [1, 5, 9, 1000]},
}
ARRIVALS = [{"process": "poisson", "rate": "7 requests/s"}, {"process": "gamma", "rate": "7 requests/s", "cv": 2.5},
            {"process": "constant", "rate": "3 requests/s"}, {"process": "burst", "rate": "3 requests/s", "burst_size": 7}]


def check_equal(workload, size):
    whole, parts = load_trace(workload), list(pieces_of(workload, size))
    assert all(len(part) == size for part in parts[:-1])
    for column in ("arrival_ns", "prompt_tokens", "output_tokens"):
        joined = np.concatenate([getattr(part, column) for part in parts])
        assert np.array_equal(joined, getattr(whole, column)), column
        assert joined.dtype == getattr(whole, column).dtype


@pytest.mark.parametrize("size", [1, 7, 100, 300, 1000])
@pytest.mark.parametrize("arrivals", ARRIVALS, ids=lambda a: a["process"])
@pytest.mark.parametrize("lengths", sorted(LENGTHS))
def test_draws_do_not_depend_on_how_many_are_drawn_at_a_time(size, arrivals, lengths):
    check_equal(Workload(arrivals=arrivals, prompt=LENGTHS[lengths], output=LENGTHS["uniform"], requests=300, seed=5), size)


def test_lengths_are_clipped_and_time_is_stretched_alike():
    check_equal(Workload(arrivals=ARRIVALS[1], prompt=LENGTHS["lognormal"], output=LENGTHS["lognormal"], requests=200,
                         rate="11 requests/s", max_prompt_tokens=50, max_output_tokens=20), 33)


def written(folder, arrivals, packed=False):
    text = "arrival_s,prompt_tokens,output_tokens,priority\n" + "".join(f"{a},{5 + i % 7},{1 + i % 3},{i % 2}\n" for i, a in enumerate(arrivals))
    file = folder / ("trace.csv.gz" if packed else "trace.csv")
    file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return str(file)


@pytest.mark.parametrize("options", [{}, {"requests": 31}, {"rate": "5 requests/s"}, {"requests": 40, "rate": "5 requests/s"}], ids=str)
@pytest.mark.parametrize("start", [-3.0, 0.0, 2.0, 1.7e9])
def test_a_file_in_pieces_is_the_file(tmp_path, options, start):
    file = written(tmp_path, start + np.cumsum(np.random.default_rng(0).exponential(0.2, 50)), packed=start == 2.0)
    for size in (1, 8, 50, 64):
        check_equal(Workload(trace=file, **options), size)
    priorities = np.concatenate([part.priority for part in pieces_of(Workload(trace=file), 8)])
    assert np.array_equal(priorities, load_trace(Workload(trace=file)).priority)


def test_a_file_out_of_order_is_refused_by_name_with_the_fix(tmp_path):
    file = written(tmp_path, [0, 2, 1])
    for size in (1, 3):
        with pytest.raises(InputError, match=r"trace.csv.*order of arrival.*sort"):
            list(pieces_of(Workload(trace=file), size))


def test_whether_a_workload_is_long_is_told_without_serving_it(tmp_path):
    file = written(tmp_path, range(50), packed=True)
    assert [exceeds(Workload(trace=file), n) for n in (49, 50)] == [True, False]
    plain = written(tmp_path, range(50))
    assert [exceeds(Workload(trace=plain), n) for n in (49, 50)] == [True, False]
    assert not exceeds(Workload(trace=file, requests=10), 10)
    drawn = Workload(arrivals=ARRIVALS[0], prompt=FIXED, output=FIXED, requests=11)
    assert exceeds(drawn, 10)
    assert not exceeds(drawn, 11)
    assert not has_contents(Workload(trace=file))


def test_a_missing_file_is_one_error():
    with pytest.raises(InputError, match="no such trace file"):
        exceeds(Workload(trace="nowhere.csv"), 5)


def test_more_requests_than_a_file_has_are_refused_kept_or_in_pieces(tmp_path):
    workload = Workload(trace=written(tmp_path, range(5)), requests=6)
    for reads in (lambda: load_trace(workload), lambda: list(pieces_of(workload, 4))):
        with pytest.raises(InputError, match=r"trace.csv: workload.requests: 6 requested, but the trace has only 5"):
            reads()
