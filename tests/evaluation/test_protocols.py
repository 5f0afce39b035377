"""What each protocol promises about its visits."""

import numpy as np
import pytest

from tta.errors import NotFoundError, TtaError
from tta.evaluation.protocols import Setting, build, names

LABELS = np.random.default_rng(0).integers(10, size=400)
NAMES = ("fog", "contrast", "jpeg_compression")


def setting(severity=5, seed=0, images=400):
    return Setting(LABELS[:images], NAMES, severity, images, seed)


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
        assert len(a.items) == len(a.choice) and ((a.items >= 0) & (a.items < 400)).all()
        assert a.choice.max() < max(1, len(a.corruptions)) and (a.severity > 0) == bool(
            a.corruptions
        )
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


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("resett", NotFoundError, "reset"),
        ("reset:3", TtaError, "without an argument"),
        ("recurring:0", TtaError, "ROUNDS"),
        ("correlated:x", TtaError, "cannot be made"),
    ],
)
def test_what_is_no_protocol(text, kind, message):
    with pytest.raises(kind, match=message):
        build(text)
