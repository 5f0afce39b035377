"""sim://: what changes when, what is known of a frame, and that a seed is a stream."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tta.corruptions import corrupt
from tta.errors import NotFoundError, SourceError, TtaError
from tta.runtime.datasets._rows import Rows
from tta.runtime.source_uri import open_source
from tta.runtime.sources.sim import SimSource


def digest(frames):
    told = hashlib.sha256()
    for frame in frames:
        told.update(frame.data.tobytes() + repr((frame.seq, frame.t_s, frame.meta)).encode())
    return told.hexdigest()


class Recordings(Rows):
    """Three recordings of a ramp, so that every sample says where it comes from."""

    kind = "sensor"

    def __init__(self):
        self.name, self.names = "ramps", ["rest", "walk", "run"]
        self.lengths = np.array([400, 300, 500])
        self.labels = np.array([0, 1, 2])

    def read(self, items, at):
        """See ``Dataset``."""
        ramp = 1000.0 * items + at
        return np.stack([ramp, -ramp, np.cos(at)], 1).astype(np.float32)


STREAMS = [
    "sim://fashion?frames=150&seed=2",
    "sim://fashion?frames=150&corruption=fog&severity=2&order=dirichlet:0.1&seed=3",
    "sim://fashion?frames=150&corruption=all&schedule=mixed&onset=20&order=sorted",
    "sim://fashion?frames=150&corruption=lens_dirt,focus_drift&schedule=slow&order=video:0.9",
    "sim://fashion?frames=150&corruption=exposure_hunting&schedule=gradual",
    "sim://fashion?frames=150&corruption=dead_column,impulse_noise&schedule=recurring:2",
    "sim://fashion?frames=150&corruption=camera_moved&schedule=diurnal:20&onset=60",
    "sim://fashion?frames=150&corruption=motion_blur&schedule=none&order=given&size=20",
]


@pytest.mark.parametrize("uri", STREAMS)
def test_a_seed_is_a_stream_however_it_is_read(uri):
    with open_source(uri) as source:
        frames = list(source)
        assert len(frames) == len(source) == 150
        parts = [f for a, b in ((0, 1), (1, 40), (40, 41), (41, 150)) for f in source.read(a, b)]
    assert digest(frames) == digest(parts) == digest(open_source(uri))
    other = open_source(uri, seed=77)
    if "order=given" not in uri:
        assert digest(other) != digest(frames)


@pytest.mark.parametrize("uri", STREAMS)
def test_frames_say_what_is_known_of_them(uri):
    source = open_source(uri)
    frames = list(source)
    assert source.changes == [f.seq for f in frames if f.meta["change"]]
    for frame in frames:
        meta, segment = frame.meta, source.segments[frame.meta["segment"]]
        assert segment.start <= frame.seq < segment.stop
        assert meta["corruption"] in (segment.corruptions or ("none",))
        assert meta["severity"] == segment.severity_at(frame.seq)
        assert source.names[meta["label"]] == meta["label_name"]
        assert frame.t_s == frame.seq / source.fps
        assert ("hour" in meta) == ("diurnal" in uri)
    assert source.labels.tolist() == [f.meta["label"] for f in frames]
    assert all("clean" not in f.meta for f in frames)


def test_labels_and_images_belong_together():
    with np.load(Path(__file__).parents[2] / "tta" / "demo" / "fashion_test.npz") as data:
        images, labels = data["images"], data["labels"]
    for frame in SimSource("fashion", frames=100, order="dirichlet:0.1", seed=4):
        item = frame.meta["item"]
        assert np.array_equal(frame.data, images[item]) and frame.meta["label"] == labels[item]


def test_clean_is_the_frame_before_it_was_corrupted():
    source = SimSource("fashion", corruption="fog", severity=3, frames=40, seed=6)
    for frame in source:
        clean = source.clean(frame)
        assert np.array_equal(clean, source.clean(frame.seq))
        if frame.meta["corruption"] == "none":
            assert np.array_equal(clean, frame.data)
        else:
            wanted = corrupt(clean[None], "fog", 3, 6, first=frame.seq)[0]
            assert np.array_equal(wanted, frame.data)


def test_dirt_stays_where_it_is_while_it_grows():
    white = Rows(np.full((200, 32, 32), 255, np.uint8))
    for schedule in ("gradual", "slow", "diurnal:11"):
        source = SimSource(white, corruption="lens_dirt", schedule=schedule, frames=200, fps=100)
        dark = [255 - f.data.astype(int) for f in source if f.meta["severity"] > 0]
        most = dark[-1] if schedule != "gradual" else max(dark, key=np.sum)
        tolerance = 12 if "diurnal" in schedule else 0
        assert all((each <= most + tolerance).all() for each in dark)


def test_the_time_of_a_fault_goes_on_over_its_stairs(rng):
    images = Rows(rng.integers(0, 256, (20, 32, 32)).astype(np.uint8))
    source = SimSource(images, corruption="focus_drift", schedule="gradual", frames=200, fps=2)

    def grain(image):
        return np.abs(np.diff(image.astype(int))).mean()

    sharp = {s.start: grain(source.read(s.start, s.stop)[0].data) / grain(source.clean(s.start))
             for s in source.segments}  # fmt: skip
    # The lens would be in focus at the start of each stair if the time began anew.
    assert sharp[20] == 1 and max(sharp[60], sharp[100]) < 0.7


def test_mixed_frames_have_all_of_the_corruptions():
    source = SimSource(
        "fashion", corruption="fog,contrast,shot_noise", schedule="mixed", frames=400
    )
    names = [f.meta["corruption"] for f in source]
    assert names[:200] == ["none"] * 200
    counts = [names[200:].count(n) for n in ("fog", "contrast", "shot_noise")]
    assert sum(counts) == 200 and min(counts) > 40


def test_time_is_simulated():
    assert [f.t_s for f in SimSource("fashion", frames=3, fps=0.5)] == [0, 2, 4]
    day = SimSource("fashion", schedule="diurnal:0", frames=48)
    assert [f.meta["hour"] for f in day] == pytest.approx([k / 2 for k in range(48)])


def test_a_part_of_the_data_can_be_taken():
    items = {f.meta["item"] for f in SimSource("fashion", start=10, stop=30, frames=200)}
    assert items == set(range(10, 30))


class TestSensor:
    def test_recordings_come_whole_and_in_order(self):
        frames = list(SimSource(Recordings(), seed=1))
        assert len(frames) == 1200
        at = np.array([f.data[0] for f in frames]) % 1000
        assert (
            sorted(np.flatnonzero(np.diff(at) != 1) + 1)
            == np.cumsum(
                [{0: 400, 1: 300, 2: 500}[i] for i in dict.fromkeys(f.meta["item"] for f in frames)]
            )[:-1].tolist()
        )
        assert all(f.meta["label_name"] == ("rest", "walk", "run")[f.meta["item"]] for f in frames)

    @pytest.mark.parametrize(
        "corruption", ["sensor_gain,stuck_value", "clock_jitter", "sampling_rate,sensor_noise"]
    )
    @pytest.mark.parametrize("schedule", ["abrupt", "mixed", "slow", "gradual", "diurnal"])
    def test_a_seed_is_a_stream_however_it_is_read(self, corruption, schedule):
        def made():
            return SimSource(Recordings(), corruption=corruption, schedule=schedule, seed=3)

        whole, source = digest(made()), made()
        cuts = [0, 1, 255, 256, 257, 700, 1200]
        parts = [f for a, b in zip(cuts, cuts[1:]) for f in source.read(a, b)]  # noqa: RUF007
        assert whole == digest(parts)

    def test_a_fast_clock_reads_slower_and_its_labels_go_with_it(self):
        source = SimSource(Recordings(), corruption="sampling_rate", order="given", onset=100)
        frames = list(source)
        signal = np.array([f.data[0] for f in frames])
        np.testing.assert_allclose(signal[:100], np.arange(100))
        np.testing.assert_allclose(signal[100:600], 100 + 0.5 * np.arange(500), atol=1e-3)
        turn = next(f.seq for f in frames if f.meta["label"] == 1)
        assert abs(turn - (100 + 2 * 300)) <= 1
        assert source.labels.tolist() == [f.meta["label"] for f in frames]

    def test_windows_are_frames(self, rng):
        windows = rng.standard_normal((30, 3, 50)).astype(np.float32)
        source = SimSource(Rows(windows, np.arange(30) % 2), corruption="sensor_gain", frames=60)
        frames = list(source)
        assert frames[0].data.shape == (3, 50)
        assert np.array_equal(frames[40].data, 0.35 * windows[frames[40].meta["item"]])
        for name in ("clock_jitter", "sensor_noise"):
            made = SimSource(Rows(windows), corruption=name, frames=60)
            assert digest(made) == digest([f for k in range(60) for f in made.read(k, k + 1)])
        day = SimSource(Rows(windows), schedule="diurnal", frames=20)
        assert next(iter(day)).data.shape == (3, 50)


BAD = {
    "corruption=fgo": (NotFoundError, "no corruption is named 'fgo'; known: fog"),
    "corruption=fog&severity=6": (
        SourceError,
        "severity must be a whole number from 1 to 5, but is 6",
    ),
    "corruption=fog&severity=0": (
        SourceError,
        "severity must be a whole number from 1 to 5, but is 0",
    ),
    "corruption=fog&severity=2.5": (SourceError, "severity must be a whole number"),
    "corruption=lens_dirt&severity=5.5": (SourceError, "severity must be from 1 to 5, but is 5.5"),
    "corruption=fog&severity=high": (
        SourceError,
        "severity of sim:// must be a number, but is 'high'",
    ),
    "schedule=gradul": (NotFoundError, "no schedule named 'gradul'; known: gradual"),
    "order=irid": (NotFoundError, "no order named 'irid'; known: iid"),
    "order=dirichlet:0": (SourceError, "write it as dirichlet:NUMBER"),
    "oder=iid": (NotFoundError, "sim:// has no option 'oder'; it has: corruption, severity"),
    "schedule=slow&corruption=fog": (
        SourceError,
        "schedule slow needs a fault that can grow, but fog",
    ),
    "frames=0": (SourceError, "option frames of sim:// must be at least 1, but is 0"),
    "seed=-1": (SourceError, "option seed of sim:// must be at least 0"),
    "onset=-1": (SourceError, "option onset of sim:// must be at least 0"),
    "size=4": (SourceError, "option size of sim:// must be at least 16"),
    "fps=0": (SourceError, "option fps of sim:// must be positive"),
}


@pytest.mark.parametrize("query", BAD)
def test_bad_options_are_refused_before_anything_is_opened(query):
    kind, message = BAD[query]
    with pytest.raises(kind, match=message):
        open_source(f"sim://fashion?{query}")


BAD_DATA = {
    "sim://fashion?start=5000": "fashion has 2000 items, of which start=5000 and stop=None leave none",
    "sim://fashion?corruption=sensor_gain": "fashion is images, which sensor_gain is not for",
    "sim://fashion/train": "fashion has no part 'train'",
    "sim://nowhere": "sim:// knows no data 'nowhere': expected one of cifar10, fashion, imagenet, watch",
    "sim://": "sim:// knows no data ''",
}


@pytest.mark.parametrize("uri", BAD_DATA)
def test_bad_data_are_refused_on_opening(uri):
    source = open_source(uri)
    with pytest.raises(SourceError, match=BAD_DATA[uri]), source:
        pass


def test_an_order_by_labels_needs_labels():
    bare = Rows(np.zeros((10, 20, 20), np.uint8))
    for order in ("sorted", "dirichlet:1"):
        with pytest.raises(SourceError, match=f"order {order} goes by labels, but array has none"):
            len(SimSource(bare, order=order))
    assert "label" not in next(iter(SimSource(bare))).meta and SimSource(bare).labels is None


def test_a_sensor_is_no_picture():
    with pytest.raises(
        SourceError, match="ramps is a sensor, which fog is not for: take one of axis_"
    ):
        len(SimSource(Recordings(), corruption="fog"))


def test_gray_images_have_no_colours_to_saturate():
    with pytest.raises(TtaError, match="saturate changes colours, but the images are gray"):
        list(SimSource("fashion", corruption="saturate", frames=4))
