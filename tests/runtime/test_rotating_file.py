"""Files that begin anew when they are full: nothing is cut, the oldest lines go, heads are repeated."""

import csv
import json

import numpy as np
import pytest

from tta.errors import TtaError
from tta.records import Decision, DriftReport, Frame, Prediction, Result
from tta.runtime.sink_uri import open_sink
from tta.runtime.sinks.csv_ import COLUMNS


def result(seq, reason="why"):
    frame = Frame(np.zeros(2), seq / 30, seq, "x", {"label": 2})
    told = Prediction({}, np.array([0.2, 0.8], np.float32), 0.5, 0.004, "abc")
    decision = Decision("hold", reason, "abc", 3, {})
    return Result(frame, told, DriftReport({"entropy": 0.25}, "warn", decision=decision), "cam")


@pytest.mark.parametrize("name", ["jsonl", "csv"])
def test_lines_are_whole_and_the_oldest_files_go(tmp_path, name):
    path = tmp_path / "out"
    sink = open_sink(f"{name}:{path}?rotate_mib=0.005&keep=2")
    for k in range(400):
        sink.write(result(k))
    sink.close()
    files = sorted(tmp_path.iterdir())
    assert [f.name for f in files] == ["out", "out.1", "out.2"]
    assert all(f.stat().st_size <= 0.005 * 2**20 for f in files)
    seqs = []
    for file in reversed(files):
        text = file.read_text()
        if name == "jsonl":
            seqs += [json.loads(line)["seq"] for line in text.splitlines()]
        else:
            seqs += [int(row["seq"]) for row in csv.DictReader(text.splitlines())]
    assert seqs == list(range(seqs[0], 400)) and seqs[0] > 0


def test_none_is_kept(tmp_path):
    sink = open_sink(f"jsonl:{tmp_path}/out?rotate_mib=0.001&keep=0")
    for k in range(50):
        sink.write(result(k))
    sink.close()
    assert [f.name for f in tmp_path.iterdir()] == ["out"]


def test_csv_rows(tmp_path):
    path = tmp_path / "out.csv"
    for k in range(2):  # appending repeats no head
        sink = open_sink(f"csv:{path}?append=true")
        sink.write(result(k, 'a "quoted", reason'))
        sink.write(Result(Frame(np.zeros(2), 1.0, 9), None, DriftReport({}), skipped="=1+1"))
        sink.close()
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 4 and list(rows[0])[: len(COLUMNS)] == list(COLUMNS)
    assert rows[0]["reason"] == 'a "quoted", reason' and rows[0]["latency_ms"] == "4"
    assert (
        rows[0]["predicted"] == "1"
        and rows[0]["label"] == "2"
        and rows[0]["drift_entropy"] == "0.25"
    )
    assert rows[1]["predicted"] == "" and rows[1]["skipped"] == "'=1+1"


@pytest.mark.parametrize("query", ["rotate_mib=-1", "keep=-1", "every=0"])
def test_numbers_that_make_no_sense(tmp_path, query):
    with pytest.raises(TtaError, match=r"0 or more|at least 1"):
        open_sink(f"csv:{tmp_path}/out.csv?{query}")


def test_csv_names_no_column_twice(tmp_path):
    sink = open_sink(f"csv:{tmp_path}/out.csv")
    sink.close()
    head = (tmp_path / "out.csv").read_text().strip().split(",")
    assert len(head) == len(set(head)) and "drift_entropy" in head
