"""The live view: a plain line every few seconds, or a table in a terminal, of what people want to know."""

import io
import sys

import numpy as np
import pytest

from tests.runtime.conftest import frames
from tta.errors import TtaError
from tta.records import Decision, DriftReport, Frame, Prediction, Result
from tta.runtime.loop import advance
from tta.runtime.sink_uri import open_sink
from tta.runtime.sinks.live import Live
from tta.runtime.stream import Stream


class Terminal(io.StringIO):
    """A terminal that keeps what was written."""

    def isatty(self):
        return True


def result(seq, *, answer=True, decision=None, stream="cam", level="ok"):
    frame = Frame(np.zeros(2), seq / 10, seq, "v4l2:///dev/video0")
    told = Prediction({}, np.array([0.2, 0.8], np.float32), 0.5, 0.004, "abc")
    report = DriftReport({"entropy": 0.5}, level, decision=decision)
    return Result(frame, told if answer else None, report, stream, "" if answer else "torn")


def test_a_line_says_rate_latency_losses_drift_and_what_was_decided(capsys):
    live = Live()
    commit = Decision("commit", "the stream is away from the source", "abc", 3, {})
    hold = Decision("hold", "the stream is as the source", "abc", 3, {})
    for k in (0, 1, 4):  # two frames were never handed over
        live.write(result(k, decision=hold))
    live.write(result(5, answer=False))
    live.write(result(6, decision=commit, level="drift"))
    live.close()
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    for word in ("cam", "5 frames", "4.0 ms (p99 4.0)", "2 dropped", "1 skipped", "drift: drift"):
        assert word in line
    assert "frame 6: commit, the stream is away from the source (step 3)" in line
    assert "hold" not in line


def test_a_decision_is_told_once(capsys):
    live = Live(every_s=1e-9)
    live.write(result(0))
    live.write(result(1, decision=Decision("reset", "why", "abc", 0, {})))
    live.write(result(2))
    live.close()
    lines = capsys.readouterr().out.splitlines()
    assert ["reset, why" in line for line in lines] == [True, False, False]


def test_lines_come_at_most_so_often_and_streams_have_one_each(capsys):
    live = Live(every_s=3600)
    for k in range(50):
        live.write(result(k, stream="a"))
        live.write(result(k, stream="b"))
    assert capsys.readouterr().out == ""
    live.close()
    live.close()
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["a", "b"]


def test_a_real_stream_says_what_is_in_force(model, drifted, capsys):
    live = Live()
    stream = Stream(model, "bn_stats")
    live.attach([stream])
    for frame in frames(drifted[:64]):
        for each in advance(stream, frame):
            live.write(each)
    live.close()
    shown = capsys.readouterr().out
    assert f"state {stream.serving} at step {stream.current.step}" in shown
    assert "statistics_kl" in shown and "of threshold" in shown
    assert f"{stream.counts.commits} commits" in shown


def test_a_terminal_gets_a_table(monkeypatch):
    pytest.importorskip("rich")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    live = Live()
    for k in range(5):
        live.write(result(k))
    live.close()
    shown = terminal.getvalue()
    assert "frames/s" in shown and "cam" in shown and "\x1b[" in shown


def test_a_terminal_may_have_lines(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    live = Live(plain=True)
    live.write(result(0))
    live.close()
    assert terminal.getvalue().count("\n") == 1 and "\x1b" not in terminal.getvalue()


@pytest.mark.parametrize("text", ["live?every_s=0", "live?every_s=-1"])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(TtaError, match="above 0 s"):
        open_sink(text)
