"""Every file in runtime/sinks/ keeps the contract of a sink."""

import numpy as np
import pytest

from tta import registry
from tta.errors import TtaError
from tta.records import Decision, DriftReport, Frame, Prediction, Result
from tta.runtime.sink_uri import open_sink

EXAMPLES = {
    "null": lambda tmp_path: "null",
    "stdout": lambda tmp_path: "stdout?json=true",
    "live": lambda tmp_path: "live?every_s=0.001",
    "csv": lambda tmp_path: f"csv:{tmp_path}/out.csv",
    "prometheus": lambda tmp_path: "prometheus://:0",
    "mqtt": lambda tmp_path: "mqtt://127.0.0.1:9/tta/test?every_s=3600",
    "video": lambda tmp_path: f"video:{tmp_path}/out.avi",
    "jsonl": lambda tmp_path: f"jsonl:{tmp_path}/out.jsonl",
}


@pytest.fixture(params=registry.names("tta.runtime.sinks"))
def sink(request, tmp_path):
    if request.param not in EXAMPLES:
        pytest.fail(
            f"runtime/sinks/{request.param}.py has no example in tests/contract/test_sinks.py: "
            "add a text to EXAMPLES that opens it"
        )
    return open_sink(EXAMPLES[request.param](tmp_path))


def results():
    frame = Frame(np.zeros((4, 4), np.uint8), 0.5, 7, "synthetic://", {"label": np.int64(3)})
    sure = Prediction({}, np.array([0.25, 0.75], np.float32), 0.56, 0.004, "abc")
    plain = Prediction({"value": np.ones(2)}, np.zeros(0), float("nan"), 0.004, "abc")
    decided = Decision("rollback", "worse", "abc", 4, {"gain": float("inf")})
    return [
        Result(frame, sure, DriftReport({"entropy": np.float32(0.5)}, "warn"), "cam"),
        Result(frame, plain, DriftReport({"entropy": float("nan")}, decision=decided)),
        Result(frame, None, DriftReport({}), skipped="frame 7 is empty"),
    ]


def test_it_takes_every_kind_of_result(sink, capsys):
    for result in results():
        try:
            sink.write(result)
        except TtaError as error:  # a broker that is not there: what comes is refused in a sentence
            assert "not connected" in str(error)
    sink.close()


def test_closing_twice_is_harmless(sink):
    sink.close()
    sink.close()
