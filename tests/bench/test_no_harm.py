"""The figures of the do-no-harm matrix."""

import numpy as np
import pytest

from tests.bench.no_harm import clustered, exceeding, harms, windows


def test_copies_of_a_frame_are_no_new_data():
    harm = np.random.default_rng(0).choice([-100.0, 0.0, 100.0], 400)
    alone = clustered(harm, np.arange(400))
    assert alone == pytest.approx((harm.mean(), harm.std() / 20))
    assert clustered(np.tile(harm, 5), np.tile(np.arange(400), 5)) == pytest.approx(alone)


def test_the_bound_holds_as_often_as_it_says():
    rng, held = np.random.default_rng(1), 0
    for _ in range(400):
        mean, error = clustered(np.repeat(rng.normal(2, 10, 50), 3), np.repeat(np.arange(50), 3))
        held += mean + 1.645 * error >= 2
    assert 0.91 <= held / 400 <= 0.98


def test_p_values():
    assert exceeding(2.145, 1.0, 0.5) == pytest.approx(0.05, abs=1e-3)
    assert exceeding(0.0, 0.0, 0.5) == 1.0 and exceeding(1.0, 0.0, 0.5) == 0.0


def test_windows_are_frames_in_a_row():
    assert windows(np.array([0.0, 100, 100, 0]), 2).tolist() == [50, 100, 50]
    assert windows(np.array([0.0, 100]), 1000).tolist() == [50]


def test_frames_without_a_class_count_nowhere():
    images = {
        "label": np.array([1, 2, -1, 0]),
        "pre": np.array([1, 0, 3, 1]),
        "frozen": np.array([0, 2, 2, 1]),
        "item": np.array([4, 5, 6, 7]),
    }
    harm, unit = harms(images)
    assert harm.tolist() == [-100, 100, 0] and unit.tolist() == [4, 5, 7]
