"""Tails of detector statistics, against streams whose false-alarm rate can be counted."""

import math

import numpy as np
import pytest

from tta.detectors.cusum import Cusum
from tta.tails import Tail, dependence, fit, window_maxima


def traced(values, **options):
    detector = Cusum(threshold=math.inf, **options)
    out = []
    for x in values:
        detector.update(x)
        out.append(detector.statistic)
    return np.array(out)


def test_a_threshold_from_the_tail_keeps_its_rate(rng):
    """Fitted on 12,000 values, counted on 400,000 others: not above the budget, and not absurdly below."""
    tail = fit(traced(rng.standard_normal(12_000)))
    for every in (500, 5000):
        detector = Cusum(threshold=tail.threshold(1 / every))
        alarms = 0
        for x in rng.standard_normal(400_000).tolist():
            detector.update(x)
            alarms += detector.drift_detected
        assert 0.05 * 400_000 / every < alarms <= 1.5 * 400_000 / every


def test_the_scale_of_cusum_excursions_is_that_of_theory(rng):
    """Excursions of a sum with drift -k and variance 1 decay like exp(-2kh), so the scale is 1/(2k)."""
    tail = fit(traced(rng.standard_normal(200_000), slack=0.5))
    assert tail.scale == pytest.approx(1.0, rel=0.15)


def test_fewer_values_give_a_wider_threshold(rng):
    values = traced(rng.standard_normal(64_000))
    few = np.mean([fit(part).threshold(1e-6) for part in np.split(values, 32)])
    assert few > fit(values).threshold(1e-6)


def test_rate_and_threshold_are_inverse():
    tail = Tail(3.0, 0.01, 0.8)
    assert tail.exceeded(tail.threshold(1e-5)) == pytest.approx(1e-5)
    assert tail.exceeded(0.0) == 0.01


def test_a_statistic_that_never_moves_has_a_tail():
    tail = fit(np.zeros(1000))
    assert math.isfinite(tail.threshold(1e-6)) and tail.threshold(1e-6) > 0


def test_window_maxima_cover_everything():
    assert window_maxima(np.arange(10.0), 4).max() == 9
    assert window_maxima(np.array([2.0, 5.0, 1.0]), 64).tolist() == [5.0]


def test_dependence_from_one_statistic_to_independent_ones(rng):
    one = rng.standard_normal((4000, 1))
    assert dependence(np.repeat(one, 5, 1)) == pytest.approx(1 / 5, rel=0.01)
    assert dependence(rng.standard_normal((4000, 5))) == pytest.approx((1 - 0.9**5) / 0.5, rel=0.05)
