"""What each protocol promises about its visits."""

import numpy as np
import pytest

from tta.errors import NotFoundError, TtaError
from tta.evaluation.protocols import Setting, build, names
from tta.simulation.schedules import diurnal as schedule

LABELS = np.random.default_rng(0).integers(10, size=400)
NAMES = ("fog", "contrast", "jpeg_compression")


def setting(severity=5, seed=0, images=400, brief=False):
    return Setting(LABELS[:images], NAMES, severity, images, seed, brief)


def visits(text, **more):
    return list(build(text).visits(setting(**more)))


def runs(labels):
    """Mean length of runs of one label."""
    return len(labels) / (1 + np.count_nonzero(np.diff(labels)))


@pytest.mark.parametrize("name", names())
def test_it_begins_at_the_source_and_repeats(name):
    one, two, other = visits(name), visits(name), visits(name, seed=1)
    assert one[0].reset
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.items, b.items) and np.array_equal(a.choice, b.choice)
        assert len(a.items) == len(a.choice) and ((a.items >= 0) & (a.items < 800)).all()
        assert (a.items < 400).any() and ((a.items < 400).all() or name == "unseen")
        assert a.choice.max() < max(1, len(a.corruptions))
        assert (a.severity > 0) == any(":" not in change for change in a.corruptions)
    assert not all(np.array_equal(a.items, b.items) for a, b in zip(one, other))
    assert isinstance(build(name).resets, str) and build(name).__doc__


@pytest.mark.parametrize("name", ["reset", "continual", "correlated", "correlated:sorted", "ends"])
def test_each_visit_shows_every_image_once(name):
    for each in visits(name):
        assert np.array_equal(np.sort(each.items), np.arange(400))


def test_where_the_source_comes_back():
    assert [v.reset for v in visits("reset")] == [True, True, True]
    assert [v.reset for v in visits("continual")] == [True, False, False]
    assert [v.reset for v in visits("ends")] == [True, False] * 3
    assert [v.corruptions for v in visits("ends")][:2] == [("fog",), ()]
    assert sum(v.reset for v in visits("recurring:4")) == 1 and len(visits("recurring:4")) == 12


def test_gradual_climbs_and_falls():
    levels = [v.severity for v in visits("gradual") if v.corruptions == ("fog",)]
    assert levels == [1, 2, 3, 4, 5, 4, 3, 2, 1]
    shown = np.concatenate([v.items for v in visits("gradual") if v.corruptions == ("fog",)])
    assert np.array_equal(np.sort(shown), np.arange(400))
    assert [v.severity for v in visits("gradual", severity=1)] == [1, 1, 1]


def test_mixed_has_every_image_under_every_corruption():
    (only,) = visits("mixed")
    pairs = only.items * 3 + only.choice
    assert np.array_equal(np.sort(pairs), np.arange(1200))
    assert len(set(only.choice[:50])) == 3  # no batch of one domain


def test_correlated_is():
    plain = np.mean([runs(LABELS[v.items]) for v in visits("continual")])
    mild, strong, whole = (
        np.mean([runs(LABELS[v.items]) for v in visits(f"correlated:{d}")])
        for d in ("1", "0.01", "sorted")
    )
    assert plain < mild < strong < whole and whole == 40


def test_few():
    short = visits("few_samples:64")
    assert all(len(v.items) == 64 and v.reset for v in short) and len(short) == 3 * 6
    assert len(visits("few_samples:1000")[0].items) == 400
    for each in visits("few_classes:2"):
        assert len(np.unique(LABELS[each.items])) == 2
    with pytest.raises(TtaError, match="fewer classes"):
        visits("few_classes:11")


def test_a_day_has_every_image_once_and_few_by_night():
    found = visits("diurnal:2")
    assert [v.name for v in found[:4]] == [
        "morning of day 1", "afternoon of day 1", "evening of day 1", "night of day 1",
    ]  # fmt: skip
    assert len(found) == 8 and [v.reset for v in found] == [True] + [False] * 7
    for day in (found[:4], found[4:]):
        assert np.array_equal(np.sort(np.concatenate([v.items for v in day])), np.arange(400))
        hours = np.concatenate([v.choice for v in day])
        assert (np.diff(hours) >= 0).all() and hours.max() < 24
        assert [v.choice.min() // 6 for v in day] == [v.choice.max() // 6 for v in day]
    shown = np.array([len(v.items) for v in found])
    assert shown[[0, 1, 4, 5]].min() > 3 * shown[[3, 7]].max()
    assert found[0].corruptions[0] == "06:00" and found[0].corruptions[-1] == "05:00"


def test_a_class_has_its_hours():
    """Class k of 10 is most frequent at hour 2.4·k."""
    many = np.random.default_rng(1).integers(10, size=20_000)
    found = list(build("diurnal:1").visits(Setting(many, NAMES, 5, len(many), 0)))
    items = np.concatenate([v.items for v in found])
    hours = (np.concatenate([v.choice for v in found]) + 6) % 24
    day = schedule.Diurnal("0")
    for k in range(10):
        often = day.frequency(3600.0 * np.arange(24), np.array(k), 10)
        often = often * day.event_rate(3600.0 * np.arange(24))
        shown = np.bincount(hours[many[items] == k], minlength=24)
        error = np.sqrt(often / often.sum() / shown.sum())
        assert (np.abs(shown / shown.sum() - often / often.sum()) < 4.5 * error).all()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_unseen_frames_are_as_many_as_asked(share):
    for each in visits(f"unseen:{share}"):
        foreign = each.items >= 400
        assert each.reset and foreign.mean() == pytest.approx(share, abs=0.01)
        assert np.array_equal(np.sort(each.items[~foreign]), np.arange(400))
        assert foreign[:100].any() and not foreign[:100].all()
    for each in visits(f"unseen:{share}", brief=True):
        assert len(each.items) == pytest.approx(400, abs=2)
        assert (each.items >= 400).mean() == pytest.approx(share, abs=0.01)
        assert len(np.unique(each.items)) == len(each.items)


def test_in_brief_nothing_takes_more_frames_than_one_pass():
    for name in names():
        whole, brief = (sum(len(v.items) for v in visits(name, brief=b)) for b in (False, True))
        assert brief <= whole and brief <= 3 * 400
    shown = np.concatenate([v.items for v in visits("recurring:20", brief=True)][0::3])
    assert np.array_equal(np.sort(shown), np.arange(400))  # fog, in all rounds together
    assert sum(len(v.items) for v in visits("recurring:20")) == 20 * 3 * 400
    assert len(visits("few_samples:10", brief=True)) == 3 * 8


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("gradual", {"images": 8}, "over 9 steps"),
        ("recurring:20", {"images": 19, "brief": True}, "fewer rounds"),
    ],
)
def test_what_the_images_are_too_few_for(text, more, message):
    with pytest.raises(TtaError, match=message):
        visits(text, **more)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("resett", NotFoundError, "reset"),
        ("reset:3", TtaError, "without an argument"),
        ("recurring:0", TtaError, "ROUNDS"),
        ("correlated:x", TtaError, "cannot be made"),
        ("diurnal:0", TtaError, "DAYS"),
        ("unseen:1", TtaError, "SHARE"),
    ],
)
def test_what_is_no_protocol(text, kind, message):
    with pytest.raises(kind, match=message):
        build(text)
