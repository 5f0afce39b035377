"""What sinks write, and how they refuse."""

import json
import math

import numpy as np
import pytest

from tta.errors import NotFoundError, TtaError
from tta.records import Decision, DriftReport, Frame, Prediction, Result
from tta.runtime.sink_uri import open_sink

FRAME = Frame(np.zeros(2), 1.5, 7, "npz://a.npz", {"label": np.int64(3), "path": "x"})
PREDICTION = Prediction({}, np.array([0.25, 0.75]), 0.56, 0.004, "abc", "batch-post")
DECISION = Decision("commit", "entropy fell", "def", 4, {"gain": np.float32(0.5), "x": math.inf})
RESULT = Result(
    FRAME, PREDICTION, DriftReport({"entropy": 0.5, "shift": math.nan}, "warn", {}, DECISION), "cam"
)
SKIPPED = Result(FRAME, None, DriftReport({}), "cam", "frame 7 is empty")


def refuse(constant):
    raise AssertionError(f"not strict JSON: {constant}")


def lines(path):
    return [json.loads(t, parse_constant=refuse) for t in path.read_text("utf-8").splitlines()]


def test_jsonl_record(tmp_path):
    path = tmp_path / "out.jsonl"
    with open_sink(f"jsonl:{path}") as sink:
        sink.write(RESULT)
        sink.write(SKIPPED)
    first, second = lines(path)
    assert first == {
        "stream": "cam", "seq": 7, "t_s": 1.5, "source": "npz://a.npz", "label": 3,
        "predicted": 1, "confidence": 0.75, "entropy": 0.56, "latency_s": 0.004, "state": "abc",
        "served": "batch-post", "skipped": "",
        "drift": {"level": "warn", "scores": {"entropy": 0.5, "shift": None}, "layers": {}},
        "decision": {
            "action": "commit", "reason": "entropy fell", "step": 4, "state": "def",
            "figures": {"gain": 0.5, "x": None},
        },
    }  # fmt: skip
    assert second["predicted"] is None and second["skipped"] == "frame 7 is empty"
    assert first.keys() - second.keys() == {"decision"}


def test_jsonl_regression_has_no_class(tmp_path):
    path = tmp_path / "out.jsonl"
    with open_sink(f"jsonl:{path}") as sink:
        sink.write(Result(FRAME, Prediction({}, np.zeros(0), math.nan, 0.1, "a"), DriftReport({})))
    (record,) = lines(path)
    assert record["predicted"] is record["confidence"] is record["entropy"] is None


def test_jsonl_flushes_per_batch_and_for_decisions(tmp_path, monkeypatch):
    monkeypatch.setattr("tta.runtime.rotating_file.LONGEST_S", math.inf)
    path = tmp_path / "out.jsonl"
    sink = open_sink(f"jsonl:{path}?every=2")
    sink.write(SKIPPED)
    assert not lines(path)
    sink.write(SKIPPED)
    assert len(lines(path)) == 2
    sink.write(RESULT)
    assert len(lines(path)) == 3
    sink.close()


def test_jsonl_does_not_hold_back_a_slow_stream(tmp_path, monkeypatch):
    monkeypatch.setattr("tta.runtime.rotating_file.LONGEST_S", -1.0)
    path = tmp_path / "out.jsonl"
    sink = open_sink(f"jsonl:{path}")
    sink.write(SKIPPED)
    assert len(lines(path)) == 1
    sink.close()


@pytest.mark.parametrize(("query", "count"), [("", 1), ("?append=true", 2)])
def test_jsonl_append(tmp_path, query, count):
    path = tmp_path / "out.jsonl"
    for _ in range(2):
        with open_sink(f"jsonl:{path}{query}") as sink:
            sink.write(SKIPPED)
    assert len(lines(path)) == count


def test_jsonl_refuses_to_write_after_close(tmp_path):
    sink = open_sink(f"jsonl:{tmp_path}/out.jsonl")
    sink.close()
    with pytest.raises(TtaError, match="is closed"):
        sink.write(SKIPPED)


def test_jsonl_says_that_the_disk_is_full():
    sink = open_sink("jsonl:/dev/full?every=1")
    with pytest.raises(TtaError, match="/dev/full cannot be written: No space left"):
        sink.write(SKIPPED)
    sink.close()  # what was lost is not lost again
    sink = open_sink("jsonl:/dev/full?every=2")
    sink.write(SKIPPED)
    with pytest.raises(TtaError, match="/dev/full cannot be written: No space left"):
        sink.close()
    sink.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jsonl:{}/missing/out.jsonl", "the folder of .* does not exist: mkdir -p .*missing"),
        ("jsonl:{}", "needs a file"),
        ("jsonl:", "needs a file"),
        ("jsonl", "sink jsonl cannot be made: missing a required argument: 'path'"),
        ("jsonl:{}/out.jsonl?every=0", "every of jsonl must be at least 1"),
        (
            "jsonl:{}/out.jsonl?every=often",
            "every of sink jsonl must be an integer, but is 'often'",
        ),
        ("null:path", "sink null cannot be made: too many positional arguments"),
    ],
)
def test_bad_texts(tmp_path, text, message):
    with pytest.raises(TtaError, match=message):
        open_sink(text.format(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jsonnl:x", "no sink named 'jsonnl'; .*jsonl"),
        ("stdout?colour=red", "sink stdout has no option 'colour'; it has: json"),
        ("no_such_mod:Sink", "no sink named 'no_such_mod'; known: .*jsonl.* null.* stdout"),
        ("json:Sink", "cannot load 'json:Sink': module 'json' has no attribute 'Sink'"),
        (":x", "no sink named ''"),
        ("", "no sink named ''"),
    ],
)
def test_unknown_names(text, message):
    with pytest.raises(NotFoundError, match=message):
        open_sink(text)


def test_stdout_for_people(capsys):
    sink = open_sink("stdout")
    sink.write(RESULT)
    sink.write(SKIPPED)
    out = capsys.readouterr().out.splitlines()
    assert "class 1 (75 %)" in out[0] and "warn" in out[0] and "4.0 ms" in out[0]
    assert out[1].strip() == "commit: entropy fell (step 4)"
    assert out[2].endswith("skipped: frame 7 is empty")


def test_stdout_json(capsys):
    open_sink("stdout?json=true").write(RESULT)
    assert json.loads(capsys.readouterr().out)["predicted"] == 1


def test_a_class_from_outside(tmp_path, monkeypatch):
    (tmp_path / "my_sink.py").write_text(
        "class Mine:\n    def __init__(self, path='', *, level: int = 0): self.said = path, level\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert open_sink("my_sink:Mine").said == ("", 0)
    assert open_sink("my_sink:Mine:a/b?level=3").said == ("a/b", 3)
