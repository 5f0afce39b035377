"""Intervals of means: tables, closed forms, coverage."""

import numpy as np
import pytest

from tta.evaluation.interval import Interval, block_of, interval, pooled, student, within


@pytest.mark.parametrize(
    ("degrees", "table"),  # any printed table of Student's t, 97.5 %
    [(4, 2.776), (5, 2.571), (9, 2.262), (19, 2.093), (30, 2.042), (120, 1.980)],
)
def test_students_t(degrees, table):
    assert student(degrees) == pytest.approx(table, rel=3e-3)


def test_means_of_blocks_by_hand():
    values = np.repeat([0.0, 1.0, 2.0, 3.0, 4.0], 3)
    found = interval(values, 3)  # the block means are 0..4: mean 2, s = sqrt(2.5)
    half = 2.776 * np.sqrt(2.5 / 5)
    assert found.mean == 2
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=3e-3 * half)


def test_no_interval_reaches_beyond_what_a_share_can_be():
    values = -np.repeat([1.0, 1.0, 1.0, 1.0, 0.2], 3)
    assert interval(values, 3).low < -1
    assert interval(values, 3, most=1.0).low == -1


def test_few_values_have_a_mean_and_no_interval():
    assert interval(np.arange(4.0), 1) == Interval(1.5, None, None)
    assert interval(np.array([1.0, np.nan, 3.0]), 1).mean == 2.0
    assert np.isnan(interval(np.array([]), 1).mean)


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_coverage_is_near_95_percent_even_where_neighbours_are_alike(rho):
    rng, runs = np.random.default_rng(0), 400
    x = rng.standard_normal((1000, runs))
    for k in range(1, len(x)):
        x[k] = rho * x[k - 1] + np.sqrt(1 - rho**2) * x[k]
    found = [interval(stream, block_of(1000, 16)) for stream in x.T]
    hits = sum(each.low <= 0 <= each.high for each in found)
    assert 0.91 <= hits / runs <= 0.985


def test_sign():
    assert [Interval(0, a, b).sign for a, b in ((0.1, 1), (-1, -0.1), (-1, 1), (None, None))] == [
        1,
        -1,
        0,
        0,
    ]


def test_short_stretches_together_by_hand():
    parts = [np.repeat([0.0, 2.0], 3), np.repeat([10.0, 12.0, 14.0, 16.0], 3)]
    found = within(parts, 3)  # deviations -1, 1 and -3, -1, 1, 3: s² = 22/4
    half = 2.776 * np.sqrt(22 / 4 * ((6 / 18) ** 2 / 2 + (12 / 18) ** 2 / 4))
    assert found.mean == 9
    assert (found.low, found.high) == pytest.approx((9 - half, 9 + half), abs=3e-3 * half)
    assert within(parts, 3, most=10.0).high == 10
    assert within([np.arange(6.0)] * 3, 3).low is None  # three degrees of freedom
    assert within([*parts, np.zeros(2)], 3).low is None  # no whole block in the last


def test_the_interval_of_short_stretches_covers():
    rng, runs, hits = np.random.default_rng(2), 400, 0
    for _ in range(runs):
        found = within([level + rng.standard_normal(60) for level in (-5, 0, 20, 1)], 20)
        hits += found.low <= 4 <= found.high
    assert 0.92 <= hits / runs <= 0.98


def test_pooling_ignores_what_differs_between_stretches():
    parts = [(Interval(0.0, -0.1, 0.1), 100), (Interval(0.8, 0.7, 0.9), 300)]
    found = pooled(parts)
    half = np.hypot(0.25 * 0.1, 0.75 * 0.1)
    assert (found.mean, found.low, found.high) == pytest.approx((0.6, 0.6 - half, 0.6 + half))
    assert pooled([*parts, (Interval(0.5, None, None), 4)]).low is None
