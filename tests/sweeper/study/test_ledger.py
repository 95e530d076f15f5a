"""The ledger keeps every finished trial, through torn tails, second drivers and full disks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.inputs.errors import InputError
from sweeper.study import ledger
from sweeper.study.trial import Trial

HEADER = ledger.Header(study_id="s1", space_hash="abc", code_version="0.1", seed=7, settings={"trials": 10})


def trial(number: int) -> Trial:
    return Trial(number, {"x": number}, "complete", metrics={"ttft_s": 0.5, "empty_s": float("inf")})


def written(path: Path, *trials: int) -> None:
    book = ledger.create(path, HEADER)
    for number in trials:
        book.append(trial(number))
    book.close()


def test_replays_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    written(path, 0, 2, 1)
    book = ledger.reopen(path)
    assert book.header == HEADER
    assert tuple(book.trials()) == (trial(0), trial(2), trial(1))
    book.close()


def test_one_header_then_one_json_line_per_trial(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    written(path, 0, 1)
    first, *rest = [json.loads(line) for line in path.read_text().splitlines()]
    assert first["ledger"]["space_hash"] == "abc"
    assert [line["number"] for line in rest] == [0, 1]


@pytest.mark.parametrize("torn", [b'{"number": 3', b'{', b'\xff\xfe'])
def test_a_torn_tail_is_cut_and_the_next_line_is_whole(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "trials.jsonl"
    written(path, 0, 1)
    with path.open("ab") as file:
        file.write(torn)
    book = ledger.reopen(path)
    assert tuple(book.trials()) == (trial(0), trial(1))
    book.append(trial(2))
    book.close()
    assert ledger.read(path)[1] == [trial(0), trial(1), trial(2)]


def test_a_torn_tail_is_found_however_long_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "TAIL_BYTES", 16)
    path = tmp_path / "trials.jsonl"
    written(path, 0, 1)
    with path.open("ab") as file:
        file.write(b'{"number": 2' + b" " * 100)
    book = ledger.reopen(path)
    assert tuple(book.trials()) == (trial(0), trial(1))
    book.close()


def test_lines_written_together_are_read_one_by_one_and_found_by_offset(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    book = ledger.create(path, HEADER)
    book.append_lines(b"".join(trial(n).to_json_line().encode() + b"\n" for n in (4, 2, 3)))
    book.close()
    found = {t.number: offset for offset, t in ledger.stream(path)}
    assert list(found) == [4, 2, 3]
    assert list(ledger.at_offsets(path, [found[2], found[3], found[4]])) == [trial(2), trial(3), trial(4)]


def test_reading_beside_a_writer_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    written(path, 0)
    with path.open("ab") as file:
        file.write(b'{"number"')
    before = path.read_bytes()
    assert len(ledger.read(path)[1]) == 1
    assert path.read_bytes() == before


def test_damage_in_the_middle_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    written(path, 0)
    with path.open("ab") as file:
        file.write(b"garbage\n" + trial(2).to_json_line().encode() + b"\n")
    with pytest.raises(InputError, match="line 3 is damaged"):
        ledger.read(path)


def test_a_second_driver_is_refused_and_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    written(path, 0)
    hold = ("import sys, time, pathlib; from sweeper.study import ledger; b = ledger.reopen(pathlib.Path(sys.argv[1]));"
            "print('open', flush=True); time.sleep(60)")
    holder = subprocess.Popen([sys.executable, "-c", hold, str(path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"open\n"
        with pytest.raises(InputError, match="another sweep is running"):
            ledger.reopen(path)
    finally:
        holder.kill()
        holder.wait()
    ledger.reopen(path).close()


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trials.jsonl"
    written(path, 0)
    book = ledger.reopen(path)
    real_write = os.write

    def half_then_full(descriptor: int, data: bytes) -> int:
        if len(data) < 12:
            raise OSError(28, "No space left on device")
        return real_write(descriptor, data[:5])

    monkeypatch.setattr(ledger.os, "write", half_then_full)
    with pytest.raises(InputError, match="No space left"):
        book.append(trial(1))
    monkeypatch.undo()
    assert path.read_bytes().endswith(trial(0).to_json_line().encode() + b"\n")
    book.append(trial(1))
    book.close()
    assert len(ledger.read(path)[1]) == 2


@pytest.mark.parametrize(("text", "message"), [
    ("", "no header"), ("{}\n", "no header"), ("[]\n", "no header"),
    ('{"ledger":{"schema":99}}\n', "schema 99"), ('{"ledger":{"schema":1,"x":2}}\n', "header line is damaged"),
])
def test_what_is_not_a_ledger_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        ledger.reopen(path)


def test_create_refuses_an_existing_study_and_reopen_a_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    with pytest.raises(InputError, match="no study here"):
        ledger.reopen(path)
    written(path)
    with pytest.raises(InputError, match="holds a study already"):
        ledger.create(path, HEADER)


def test_lines_reach_the_disk_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = ledger.create(tmp_path / "trials.jsonl", HEADER)
    synced: list[int] = []
    monkeypatch.setattr(ledger.os, "fsync", synced.append)
    monkeypatch.setattr(ledger.time, "monotonic", lambda: 0.0)
    book._last_sync = 0.0
    for number in range(64):
        book.append(trial(number))
    assert len(synced) == 2
    monkeypatch.setattr(ledger.time, "monotonic", lambda: 1.5)
    book.append(trial(64))
    assert len(synced) == 3
    monkeypatch.undo()
    book.close()
