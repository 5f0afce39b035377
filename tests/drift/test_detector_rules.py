"""Detectors against their published rules, written down again without their tricks."""

import math

import numpy as np
import pytest

from tta.detectors import adwin
from tta.detectors.adwin import Adwin
from tta.detectors.cusum import Cusum
from tta.detectors.kswin import Kswin, scaled_distance
from tta.detectors.page_hinkley import PageHinkley


def step(seed=7, n=300, shift=1.0):
    x = np.random.default_rng(seed).standard_normal(n)
    x[n // 2 :] += shift
    return x


def detections(detector, values):
    found = []
    for k, x in enumerate(values):
        detector.update(x)
        if detector.drift_detected:
            found.append(k)
    return found


def test_cusum_is_the_largest_sum_of_a_tail():
    """S⁺_n = max over k of Σ_{i>k} (x_i - slack), and zero."""
    x, detector = step(), Cusum(threshold=math.inf, slack=0.3)
    for n in range(1, 120):
        detector.update(x[n - 1])
        tails = np.cumsum(x[:n][::-1] - 0.3), np.cumsum(-x[:n][::-1] - 0.3)
        assert detector.up == pytest.approx(max(0.0, tails[0].max()), abs=1e-12)
        assert detector.down == pytest.approx(max(0.0, tails[1].max()), abs=1e-12)


def test_cusum_average_run_length():
    """Siegmund's approximation: (e^{2kb} - 2kb - 1)/(2k²) with b = h + 1.166; two sides halve it."""
    k, h = 0.5, 4.0
    b = h + 1.166
    expected = (math.exp(2 * k * b) - 2 * k * b - 1) / (2 * k * k) / 2
    x = np.random.default_rng(0).standard_normal(60_000)
    assert len(x) / len(detections(Cusum(h, k), x)) == pytest.approx(expected, rel=0.15)


def page_hinkley(values, threshold, delta, least):
    """Both tests by their definition, begun anew after each detection."""
    found, begin = [], 0
    for k in range(len(values)):
        x = np.asarray(values[begin : k + 1])
        means = np.cumsum(x) / np.arange(1, len(x) + 1)
        rise = np.concatenate([[0.0], np.cumsum(x - means - delta)])
        fall = np.concatenate([[0.0], np.cumsum(x - means + delta)])
        worst = max(rise[-1] - rise.min(), fall.max() - fall[-1])
        if len(x) >= least and worst > threshold:
            found.append(k)
            begin = k + 1
    return found


@pytest.mark.parametrize("shift", (1.0, -2.0, 0.0))
def test_page_hinkley_is_its_definition(shift):
    x = step(shift=shift)
    assert detections(PageHinkley(6.0, 0.1), x) == page_hinkley(x, 6.0, 0.1, 8)


def test_page_hinkley_detects_where_river_does():
    """river 0.26.1: PageHinkley(min_instances=8, delta=0.25, threshold=10, alpha=1, mode="both")."""
    assert detections(PageHinkley(10.0, 0.25, 8), step()) == [162]


def exact_adwin(values, delta):
    """ADWIN0: all cuts of the whole window, the oldest value dropped while one is significant."""
    window, found = [], []
    for k, x in enumerate(values):
        window.append(x)
        cut = True
        while cut and len(window) >= 10:
            w, n = np.array(window), len(window)
            bound = math.log(2 / (delta / math.log(n)))
            cut = False
            for n0 in range(5, n - 4):
                m = 1 / (1 / n0 + 1 / (n - n0))
                limit = math.sqrt(2 / m * w.var() * bound) + 2 / (3 * m) * bound
                if abs(w[:n0].mean() - w[n0:].mean()) > limit:
                    cut = True
            if cut:
                window.pop(0)
                found.append(k)
    return sorted(set(found)), len(window)


def test_adwin_with_buckets_of_one_is_exact(monkeypatch):
    monkeypatch.setattr(adwin, "PER_SIZE", 10_000)
    delta, x = 0.01, step(n=160, shift=2.5)
    detector = Adwin(threshold=math.log(2 / delta), clock=1)
    found, length = exact_adwin(x, delta)
    assert detections(detector, x) == found and found
    assert sum(len(row) for row in detector.rows) == length


def test_adwin_buckets_keep_sums():
    x, detector = step(), Adwin(threshold=math.inf)
    for value in x:
        detector.update(value)
    sizes = [1 << k for k, row in enumerate(detector.rows) for _ in row]
    assert sum(sizes) == len(x) and max(len(row) for row in detector.rows) <= 5
    total = sum(bucket[0] for row in detector.rows for bucket in row)
    assert total == pytest.approx(x.sum())


def test_adwin_forgets_the_old_mean():
    detector = Adwin()
    for value in step(n=800, shift=3.0):
        detector.update(value)
    kept = [(1 << k, bucket[0]) for k, row in enumerate(detector.rows) for bucket in row]
    assert sum(s for _, s in kept) / sum(n for n, _ in kept) == pytest.approx(3.0, abs=0.3)


def test_adwin_holds_a_bounded_window():
    detector = Adwin(longest=100)
    for value in step(n=2000, shift=0.0):
        detector.update(value)
    assert sum(len(row) << k for k, row in enumerate(detector.rows)) <= 100


def test_scaled_distance_by_hand():
    a, b = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.5, 3.5])
    gaps = [abs((a <= t).mean() - (b <= t).mean()) for t in (*a, *b)]
    assert scaled_distance(a, b) == pytest.approx(max(gaps) * math.sqrt(4 * 2 / 6))


def test_kswin_sees_a_change_of_spread_that_cusum_does_not():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.standard_normal(200), 6 * np.tile([1.0, -1.0], 60)])
    assert any(k >= 200 for k in detections(Kswin(threshold=1.65), x))
    assert not any(k >= 200 for k in detections(Cusum(20.0, 0.5), x))
