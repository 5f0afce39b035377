"""Several devices on one clock."""

import itertools

import numpy as np
import pytest

from tta.errors import SourceError
from tta.firmware_bridge.boards import PythonBoard
from tta.firmware_bridge.messages import Channel, Schema
from tta.runtime.alignment import Aligned, Aligner
from tta.runtime.source_uri import open_source

pytest.importorskip("serial")


def test_two_rates_and_offsets_meet_on_one_grid(rng):
    """Two devices sample the same slow wave at 50 and 77 Hz; on the grid they agree."""
    aligner = Aligner(2, 0.02)
    times, rows = [], []
    for begin in np.arange(0, 10, 0.2):
        for device, rate in ((0, 50.0), (1, 77.0)):
            t = np.arange(800) / rate
            t = t[(t > begin - 1e-6) & (t < begin + 0.2 - 1e-6)]
            aligner.add(device, t, np.sin(t)[:, None])
        t, v, holes = aligner.take()
        times += t.tolist()
        rows += v.tolist()
        assert not holes.any()
    rows = np.array(rows)
    np.testing.assert_allclose(np.diff(times), 0.02)
    assert len(times) >= 485 and np.abs(rows - np.sin(times)[:, None]).max() < 1e-4


def test_a_hole_is_left_out_and_said():
    aligner = Aligner(2, 0.1, hole_s=0.3)
    t = np.arange(0, 10, 0.1)
    aligner.add(0, t, t[:, None])
    away = t[(t < 3) | (t > 6)]
    aligner.add(1, away, away[:, None])
    times, values, holes = aligner.take()
    assert not ((times > 3.05) & (times < 6.0)).any() and holes.sum() == 1
    assert times[holes][0] > 6
    np.testing.assert_allclose(values, np.stack([times, times], 1))


def test_a_device_that_falls_silent_is_not_waited_for():
    """An hour of the others does not pile up, and the grid goes on where it comes back."""
    aligner = Aligner(2, 0.1)
    t = np.arange(0, 2, 0.1)
    for device in (0, 1):
        aligner.add(device, t, t[:, None])
    aligner.take()
    for begin in range(2, 3600, 10):
        t = np.arange(begin, begin + 10, 0.1)
        aligner.add(0, t, t[:, None])
        assert not len(aligner.take()[0])
    assert len(aligner._series[0][0]) <= 602
    t = np.arange(3602, 3612, 0.1)
    for device in (0, 1):
        aligner.add(device, t, t[:, None])
    times, values, holes = aligner.take()
    assert len(times) >= 99 and times[0] >= 3602 - 1e-6
    assert holes[0] and not holes[1:].any()
    np.testing.assert_allclose(values, np.stack([times, times], 1))
    np.testing.assert_allclose(np.diff(times), 0.1)


def test_a_device_that_never_begins_is_not_waited_for_either():
    aligner = Aligner(2, 0.1)
    for begin in range(0, 600, 10):
        t = np.arange(begin, begin + 10, 0.1)
        aligner.add(0, t, t[:, None])
        assert not len(aligner.take()[0])
    assert len(aligner._series[0][0]) <= 602


def test_readings_that_go_back_are_left_out():
    aligner = Aligner(1, 0.1)
    aligner.add(0, np.array([0.0, 0.1]), np.array([[0.0], [1.0]]))
    aligner.add(0, np.array([0.05, 0.2]), np.array([[9.0], [2.0]]))
    assert aligner.take()[1].ravel().round(6).tolist() == [0, 1, 2]


def test_devices_with_clocks_of_their_own():
    """Each counts from its own boot, and one runs fast: on the host's clock they are together."""
    schema = Schema((Channel("a", "", 1, -1, 1),), 0, 200_000)
    ramp = np.arange(2000)[:, None].astype("<i2")
    with (
        PythonBoard(schema, ramp) as first,
        PythonBoard(schema, ramp, ppm=200.0) as second,
        open_source(f"tta.runtime.alignment:Aligned://{first.port},{second.port}") as source,
    ):
        frames = list(itertools.islice(source, 300))
    values = np.array([f.data for f in frames])
    times = np.array([f.t_s for f in frames])
    assert values.shape == (300, 2) and [f.seq for f in frames] == list(range(300))
    np.testing.assert_allclose(np.diff(times), 1 / 200, atol=1e-6)
    # Both began within moments of one another, so their ramps differ by what passed between: a constant.
    off = (values[:, 1] - values[:, 0])[50:]
    assert np.ptp(off) < 60 and abs(np.median(off)) < 100


@pytest.mark.parametrize("ports", ["/dev/a", "/dev/a,/dev/a", ""])
def test_ports_that_are_not_several(ports):
    with pytest.raises(SourceError, match="two different ports or more"):
        Aligned(ports)


def test_one_that_is_missing():
    schema = Schema((Channel("a"),), 0, 100_000)
    with PythonBoard(schema, np.zeros((5, 1), "<i2")) as board:
        source = Aligned(f"{board.port},/dev/no_such_port")
        with pytest.raises(SourceError, match="no_such_port does not exist"), source:
            pass
        with pytest.raises(SourceError, match="use it in a with statement"):
            next(iter(source))
