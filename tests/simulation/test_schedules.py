from itertools import pairwise

import numpy as np
import pytest

from tta import registry
from tta.errors import NotFoundError, SourceError
from tta.simulation import Segment, build, lay_out

NAMES = registry.names("tta.simulation.schedules")


def cover(segments, frames):
    assert segments[0].start == 0 and segments[-1].stop == frames
    assert all(a.stop == b.start and a.start < a.stop for a, b in pairwise(segments))


def told(segments):
    return [(s.corruptions, s.severity) for s in segments]


def test_the_folder_says_which_there_are():
    assert NAMES == ["abrupt", "diurnal", "gradual", "mixed", "none", "recurring", "slow"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frames", [1, 7, 1000])
@pytest.mark.parametrize("onset", [None, 0, 5, 2000])
@pytest.mark.parametrize(
    "corruptions", [(), ("lens_dirt",), ("lens_dirt", "focus_drift", "dead_column")]
)
def test_segments_cover_the_stream(name, frames, onset, corruptions):
    segments = build("schedule", name).segments(frames, corruptions, 5, onset)
    cover(segments, frames)
    for segment in segments:
        assert bool(segment.corruptions) == (segment.severity > 0)
        assert set(segment.corruptions) <= set(corruptions)


def test_abrupt_is_clean_then_each_in_turn():
    segments = build("schedule", "abrupt").segments(90, ("fog", "snow"), 4, None)
    assert [s.start for s in segments] == [0, 30, 60]
    assert told(segments) == [((), 0), (("fog",), 4), (("snow",), 4)]
    assert [s.start for s in build("schedule", "abrupt").segments(90, ("fog",), 4, 10)] == [0, 10]


def test_gradual_climbs_and_falls():
    segments = build("schedule", "gradual").segments(100, ("fog",), 5, None)
    assert [s.severity for s in segments] == [0, 1, 2, 3, 4, 5, 4, 3, 2, 1]
    assert {s.stop - s.start for s in segments} == {10}
    published = build("schedule", "gradual").segments(90, ("fog",), 5, 0)
    assert [s.severity for s in published] == [1, 2, 3, 4, 5, 4, 3, 2, 1]
    lower = build("schedule", "gradual").segments(60, ("fog",), 3, None)
    assert [s.severity for s in lower] == [0, 1, 2, 3, 2, 1]


def test_recurring_comes_back():
    segments = build("schedule", "recurring:2").segments(60, ("fog", "snow"), 5, None)
    assert told(segments) == [((), 0), (("fog",), 5), (("snow",), 5)] * 2
    assert len(build("schedule", "recurring").segments(60, ("fog",), 5, None)) == 6


def test_mixed_is_one_segment_of_all():
    clean, mixed = build("schedule", "mixed").segments(60, ("fog", "snow"), 5, None)
    assert (clean.stop, clean.corruptions) == (30, ()) and mixed.corruptions == ("fog", "snow")


def test_none_never_changes():
    assert build("schedule", "none").segments(9, (), 5, None) == [Segment(0, 9)]
    assert build("schedule", "none").segments(9, ("fog",), 5, 3) == [Segment(0, 9, ("fog",), 5)]


def test_slow_grows_without_a_step():
    clean, slow = build("schedule", "slow").segments(400, ("lens_dirt",), 4, None)
    assert clean == Segment(0, 100) and slow.grows
    levels = [slow.severity_at(seq) for seq in range(100, 400)]
    assert levels[0] == 0 and 3.9 < levels[-1] <= 4
    assert np.diff(levels).min() >= 0 and np.diff(levels).max() < 0.05


def test_onset_beyond_the_end_leaves_it_clean():
    assert lay_out([((), 0), (("fog",), 5)], 10, 10) == [Segment(0, 10)]


class TestDiurnal:
    def test_a_day_has_no_change_point(self):
        assert build("schedule", "diurnal").segments(100, (), 5, None) == [Segment(0, 100)]

    def test_faults_grow_on_top_and_weather_breaks_in(self):
        day = build("schedule", "diurnal")
        assert day.segments(100, ("lens_dirt",), 5, None)[1] == Segment(
            50, 100, ("lens_dirt",), 5, True
        )
        assert not day.segments(100, ("fog",), 5, None)[1].grows

    def test_hours_go_round(self):
        day = build("schedule", "diurnal:22")
        np.testing.assert_allclose(day.hours(np.array([0, 3600, 7200, 86400])), [22, 23, 0, 22])

    def test_noon_is_light_and_midnight_is_dark_and_noisy(self):
        day = build("schedule", "diurnal:0")
        gray = np.full((400, 16, 16), 150, np.uint8)
        noon, night = (
            day.ambient(gray, np.full(400, hour * 3600.0), 1, np.arange(400)).astype(float)
            for hour in (12, 0)
        )
        assert abs(noon.mean() - 150) < 2 and abs(night.mean() - 0.55 * 150) < 2
        assert noon.std() < 0.7 and abs(night.std() - 0.03 * 255) < 0.2

    def test_dusk_is_warm(self):
        day = build("schedule", "diurnal:0")
        white = np.full((50, 16, 16, 3), 200, np.uint8)
        dusk = day.ambient(white, np.full(50, 18 * 3600.0), 1, np.arange(50)).mean((0, 1, 2))
        assert dusk[0] > dusk[1] > dusk[2]

    def test_light_does_not_depend_on_the_chunk(self, rng):
        day = build("schedule", "diurnal")
        images = rng.integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)
        times, numbers = 3600.0 * np.arange(6), np.arange(6)
        whole = day.ambient(images, times, 1, numbers)
        parts = [
            day.ambient(images[s], times[s], 1, numbers[s]) for s in (slice(0, 2), slice(2, 6))
        ]
        assert np.array_equal(whole, np.concatenate(parts))

    def test_events_are_rare_by_night_and_classes_have_their_hours(self, rng):
        day = build("schedule", "diurnal:0")
        labels = np.repeat(np.arange(4), 5000)
        times = np.linspace(0, 86400, 40000, endpoint=False)
        items = day.arrange(rng.permutation(20000), labels, times, rng)
        hours = day.hours(times)
        new = np.diff(items, prepend=-1) != 0
        noon, night = (np.abs((hours - h + 12) % 24 - 12) < 1 for h in (12, 0))
        assert new[noon].mean() > 0.9 and 0.05 < new[night].mean() < 0.2
        shares = np.bincount(labels[items[noon & new]], minlength=4) / (noon & new).sum()
        wanted = day.frequency(np.array(12 * 3600.0), np.arange(4), 4)
        np.testing.assert_allclose(shares, wanted / wanted.sum(), atol=0.04)
        assert shares.argmax() == 2


def test_bad_names_and_arguments():
    with pytest.raises(NotFoundError, match="no schedule named 'gradul'; known: gradual"):
        build("schedule", "gradul")
    for text in ("recurring:0", "recurring:x"):
        with pytest.raises(SourceError, match="write it as recurring:NUMBER, how many rounds"):
            build("schedule", text)
    with pytest.raises(SourceError, match="write it as diurnal:NUMBER, the hour"):
        build("schedule", "diurnal:25")
    with pytest.raises(SourceError, match="write it as abrupt, without an argument"):
        build("schedule", "abrupt:3")
