"""An outlet: sinks that are slow, blocked or broken lose what they must, counted, and hold nobody up."""

import threading
import time
from importlib.resources import files

import numpy as np
import pytest

from tests.runtime.conftest import frames
from tta.cli import main
from tta.records import DriftReport, Frame, Prediction, Result
from tta.runtime import outlet as module
from tta.runtime.loop import run
from tta.runtime.outlet import Outlet


def result(seq, stream=""):
    frame = Frame(np.zeros((4, 4), np.uint8), seq / 30, seq)
    told = Prediction({}, np.array([0.2, 0.8], np.float32), 0.5, 0.004, "abc")
    return Result(frame, told, DriftReport({}), stream, x=np.zeros(3))


class Keeps:
    """Keeps what it is given, after whatever ``before`` does."""

    def __init__(self, before=lambda k: None):
        self.before, self.kept, self.closed, self.calls = before, [], 0, 0

    def write(self, one):
        self.calls += 1
        self.before(self.calls)
        self.kept.append(one)

    def close(self):
        self.closed += 1


def fails(calls):
    raise OSError(28, "No space left on device")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    monkeypatch.setattr(module, "CLOSING_S", 0.2)


def test_everything_arrives_in_order_and_the_sink_is_closed_once():
    sink = Keeps()
    outlet = Outlet(sink, "keeps", waits=True, capacity=8)
    for k in range(500):
        outlet.write(result(k))
    outlet.close()
    outlet.close()
    assert [r.frame.seq for r in sink.kept] == list(range(500))
    assert sink.closed == 1 and outlet.written == 500 and not outlet.lost


def test_readings_stay_behind_unless_they_are_wanted():
    for wanted in (False, True):
        sink = Keeps()
        sink.pictures = wanted
        outlet = Outlet(sink, "keeps")
        outlet.write(result(3))
        outlet.close()
        (one,) = sink.kept
        assert bool(one.frame.data.size) is wanted and (one.x is not None) is wanted
        assert one.frame.seq == 3 and one.prediction.label == 1


def test_a_live_source_loses_what_a_blocked_sink_does_not_take(quick):
    gate = threading.Event()
    sink = Keeps(lambda k: gate.wait(5))
    outlet = Outlet(sink, "stuck", capacity=10)
    start = time.perf_counter()
    for k in range(100):
        outlet.write(result(k, "a" if k % 2 else "b"))
    assert time.perf_counter() - start < 1.0  # it took seconds if it waited
    assert sum(outlet.lost.values()) == 90 and set(outlet.lost) == {"a", "b"}
    gate.set()
    outlet.close()
    assert [r.frame.seq for r in sink.kept] == list(range(10))


def test_a_finite_source_waits_for_a_slow_sink_and_not_for_a_stuck_one(quick):
    slow = Outlet(Keeps(lambda k: time.sleep(0.002)), "slow", waits=True, capacity=4)
    for k in range(100):
        slow.write(result(k))
    slow.close()
    assert slow.written == 100 and not slow.lost
    gate = threading.Event()
    stuck = Outlet(Keeps(lambda k: gate.wait(10)), "stuck", waits=True, capacity=4)
    for k in range(20):
        stuck.write(result(k))
    stuck.close()
    gate.set()
    assert stuck.lost[""] == 20 and "did not end" in stuck.error


def test_a_sink_that_fails_is_tried_again_and_its_losses_are_exact():
    def sometimes(calls):
        if calls <= 2:
            raise OSError(28, "No space left on device")

    sink = Keeps(sometimes)
    outlet = Outlet(sink, "disk", capacity=1000)
    outlet._backoff._first_s = 0.01
    for k in range(50):
        outlet.write(result(k))
    outlet.close()
    assert outlet.lost[""] == 2 and outlet.written == 48 == len(sink.kept)
    assert "No space left" in outlet.error


def test_a_reader_that_left_ends_the_run():
    def leaves(calls):
        raise BrokenPipeError

    outlet = Outlet(Keeps(leaves), "pipe")
    outlet.write(result(0))
    outlet._thread.join(5)
    with pytest.raises(BrokenPipeError):
        outlet.write(result(1))
    outlet.close()


def test_a_sink_that_fails_to_close_is_told():
    sink = Keeps()
    sink.close = lambda: fails(0)
    outlet = Outlet(sink, "disk")
    outlet.close()
    assert "closing it failed" in outlet.error


def test_objects_are_called_in_the_loop_and_names_have_outlets(model, drifted, tmp_path):
    seen = []

    class Here(Keeps):
        def write(self, one):
            seen.append(threading.current_thread() is threading.main_thread())

    source = Listed(drifted[:8])
    (stream,) = run(model.bundle, source, "none", [Here(), f"jsonl:{tmp_path}/out.jsonl"])
    assert seen == [True] * 8
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 8
    assert stream.counts.undelivered == 0 and stream.counts.last_undelivered == ""


class Listed:
    live, errors = False, 0

    def __init__(self, images):
        self.images = images

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def __iter__(self):
        return iter(frames(self.images))


@pytest.mark.parametrize("every", [1, 7, 32, 100])
def test_lines_that_were_held_back_are_counted_lost(every):
    outlet = module.outlet(f"jsonl:/dev/full?every={every}", True)
    for k in range(40):
        outlet.write(result(k, "cam"))
    outlet.close()
    assert outlet.lost == {"cam": 40} and outlet.written == 0


def test_a_full_disk_ends_no_run_and_makes_its_status_1(tmp_path, capsys):
    bundle, state = str(files("tta.demo") / "fashion.tta"), tmp_path / "state.safetensors"
    where = ["sim://fashion?frames=40", "--sink", "jsonl:/dev/full"]
    status = main(["run", bundle, *where, "--save-state", str(state)])
    told = capsys.readouterr().err
    assert status == 1 and state.exists()
    assert "40 frames (0 skipped)" in told
    assert "40 results did not reach jsonl:/dev/full" in told and "No space left on device" in told
