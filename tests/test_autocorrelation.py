"""Effective sizes and correlations against simulated series."""

import numpy as np
import pytest

from tta.autocorrelation import LARGEST, correlation, effective_size, estimate, from_time, inflation


def series(rho, n, s, rng):
    x = np.empty((n, s))
    x[0] = rng.standard_normal(s)
    noise = rng.standard_normal((n, s)) * np.sqrt(1 - rho**2)
    for k in range(1, n):
        x[k] = rho * x[k - 1] + noise[k]
    return x


@pytest.mark.parametrize("rho", (0.0, 0.5, 0.9))
def test_inflation_is_the_variance_of_block_means(rho, rng):
    x = series(rho, 32, 20_000, rng)
    assert 32 * x.mean(0).var() == pytest.approx(inflation(rho, 32), rel=0.05)


def test_a_long_block_is_worth_its_effective_size():
    for rho in (0.0, 0.5, 0.9):
        assert 10_000 / inflation(rho, 10_000) == pytest.approx(
            effective_size(10_000, rho), rel=0.01
        )


@pytest.mark.parametrize("rho", (0.0, 0.3, 0.9, 0.99))
def test_correlation_inverts_inflation(rho):
    assert correlation(inflation(rho, 32), 32) == pytest.approx(rho, abs=1e-6)


def test_correlation_is_bounded():
    assert correlation(1e9, 32) == LARGEST and correlation(0.5, 32) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("rho", "within"), ((0.0, 0.15), (0.9, 0.04), (0.99, 0.01)))
def test_estimate_finds_it(rho, within, rng):
    assert estimate(series(rho, 16_384, 3, rng)) == pytest.approx(rho, abs=within)


def test_estimate_looks_through_noise_at_slow_movement(rng):
    """Neighbours hardly correlate, yet a mean over a block is worth few frames."""
    slow = series(0.999, 16_384, 1, rng) * 0.7 + rng.standard_normal((16_384, 1))
    assert np.corrcoef(slow[1:, 0], slow[:-1, 0])[0, 1] < 0.5
    assert estimate(slow) > 0.8


def test_estimate_of_too_little_or_of_constants_is_none():
    assert estimate(np.zeros((10, 2))) == 0.0 and estimate(np.ones((1000, 2))) == 0.0


def test_correlation_time_and_frame_rate():
    assert from_time(2.0, 5.0) == pytest.approx(np.exp(-0.1)) and from_time(1e9, 60.0) == LARGEST
