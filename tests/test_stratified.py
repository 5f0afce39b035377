"""Measured accuracy: Wilson's interval against its defining equation, and the design against simulation."""

import numpy as np
import pytest

from tta.stratified import cuts, draw, measured, stratum
from tta.wilson import Z, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 5), (1, 3), (18, 20), (20, 20), (50, 200)])
def test_wilson_ends_are_where_the_score_test_gives_way(k, n):
    """Its ends p solve |k/n - p| = z·√(p(1-p)/n)."""
    for end in wilson(k / n, n):
        assert abs(k / n - end) == pytest.approx(Z * np.sqrt(end * (1 - end) / n), abs=1e-9)


def test_wilson_without_a_trial_is_everything():
    assert wilson(0.5, 0) == (0.0, 1.0)


def test_one_stratum_is_wilson():
    right = np.array([True] * 7 + [False] * 3)
    found = measured(np.zeros(50, int), np.zeros(10, int), right)
    assert found.accuracy == pytest.approx(0.7) and found.effective == pytest.approx(10)
    assert (found.low, found.high) == pytest.approx(wilson(0.7, 10))
    assert "70.0 % (95 % interval 39.7 to 89.2, 10 labels)" in str(found)


def test_without_labels_nothing_is_known():
    found = measured(np.zeros(5, int), np.zeros(0, int), [])
    assert np.isnan(found.accuracy) and (found.low, found.high) == (0.0, 1.0)
    assert str(found) == "unknown, there is no label"


def test_strata_share_the_spread_and_the_labels(rng):
    confidence = rng.beta(5, 1, 1000)
    strata = stratum(confidence, cuts(confidence))
    spread = np.maximum(np.sqrt(confidence * (1 - confidence)), 0.1)
    sums = np.bincount(strata, spread)
    assert len(sums) == 5 and sums.max() < 1.05 * sums.min()
    assert np.bincount(strata)[0] < np.bincount(strata)[-1] / 2  # the unsure are few
    chosen = draw(strata, np.zeros(1000, bool), 20, rng)
    assert len(set(chosen)) == 20 and np.bincount(strata[chosen]).tolist() == [4] * 5
    taken = np.zeros(1000, bool)
    taken[chosen] = True
    more = draw(strata, taken, 7, rng)
    assert not taken[more].any() and np.bincount(strata[more], minlength=5).max() == 2


def test_few_or_equal_frames_are_one_stratum(rng):
    for confidence in (np.full(9, 0.5), np.full(9, np.nan), np.array([0.3])):
        strata = stratum(confidence, cuts(confidence))
        assert not strata.any()
        assert len(draw(strata, np.zeros(len(strata), bool), 20, rng)) == len(strata)


@pytest.mark.parametrize(("honest", "most"), [(True, 1.0), (False, 1.3)])
def test_it_is_unbiased_and_its_interval_holds(rng, honest, most):
    """Also where the confidences mean nothing; there an even draw would be better, but not by much."""
    confidence = rng.beta(6, 0.7, 2000)
    right = rng.random(2000) < (confidence if honest else 0.4)
    errors, held, even = [], 0, []
    for _ in range(400):
        pool = rng.permutation(2000)[:256]
        strata = stratum(confidence[pool], cuts(confidence[pool]))
        chosen = draw(strata, np.zeros(256, bool), 20, rng)
        found = measured(strata, strata[chosen], right[pool][chosen])
        errors.append(found.accuracy - right.mean())
        held += found.low <= right.mean() <= found.high
        even.append(right[pool[:20]].mean() - right.mean())
    assert abs(np.mean(errors)) < 3 * np.std(errors) / 20
    assert held / 400 > 0.92
    assert np.std(errors) < most * np.std(even)


def test_a_stratum_without_a_label_joins_its_neighbour():
    population = np.array([0] * 50 + [1] * 30 + [2] * 20)
    found = measured(population, np.array([0, 0, 1, 1]), np.array([True, True, False, False]))
    assert found.accuracy == pytest.approx(0.5)  # 50 of 100 frames are in stratum 0
