"""Running statistics against numpy on the data themselves, distances against closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tta.moments import EPS, blend, distance, layer_moments, symmetric_kl
from tta.records import Moments


def moments(x):
    return x.mean(0), x.var(0)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
def test_blending_is_concatenating(n, m, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(2, 3, (n, 5)), rng.normal(-1, 0.5, (m, 5))
    mean, var = blend(moments(a), moments(b), m / (n + m))
    both = np.concatenate([a, b])
    assert np.allclose(mean, both.mean(0), rtol=1e-6, atol=1e-6)
    assert np.allclose(var, both.var(0), rtol=1e-6)
    assert mean.dtype == var.dtype == np.float32


def test_blending_many_chunks():
    rng = np.random.default_rng(0)
    data = rng.normal(5, 2, (1000, 3))
    known, seen = moments(data[:7]), 7
    for start in range(7, 1000, 31):
        chunk = data[start : start + 31]
        seen += len(chunk)
        known = blend(known, moments(chunk), len(chunk) / seen)
    assert np.allclose(known[0], data.mean(0), rtol=1e-5)
    assert np.allclose(known[1], data.var(0), rtol=1e-4)


def test_the_ends_of_a_blend():
    a, b = (
        (np.array([1.0, 2.0]), np.array([3.0, 4.0])),
        (np.array([5.0, 6.0]), np.array([7.0, 8.0])),
    )
    assert all(np.array_equal(x, y) for x, y in zip(blend(a, b, 0), a))
    assert all(np.array_equal(x, y) for x, y in zip(blend(a, b, 1), b))


@given(st.integers(0, 10**6))
def test_distance_is_both_directions_of_kullback_and_leibler(seed):
    rng = np.random.default_rng(seed)
    (ma, mb), (va, vb) = rng.normal(size=(2, 6)), rng.uniform(0.05, 4, (2, 6))
    p, q = (
        torch.distributions.Normal(torch.tensor(m), torch.tensor(v + EPS).sqrt())
        for m, v in ((ma, va), (mb, vb))
    )
    want = torch.distributions.kl_divergence(p, q) + torch.distributions.kl_divergence(q, p)
    found = symmetric_kl((ma, va), (mb, vb))
    assert found == pytest.approx(float(want.mean()), rel=1e-9, abs=1e-12)
    assert found == pytest.approx(symmetric_kl((mb, vb), (ma, va)), rel=1e-9)
    assert found >= 0


def test_distances_by_hand():
    zero, one = np.zeros(3), np.ones(3) - EPS  # the variance is 1 once EPS is added
    assert symmetric_kl((zero, one), (zero, one)) == 0
    assert symmetric_kl((zero + 2, one), (zero, one)) == pytest.approx(4)  # d²
    four = 4 * np.ones(3) - EPS
    assert symmetric_kl((zero, four), (zero, one)) == pytest.approx(0.5 * (4 + 0.25) - 1)
    assert np.isfinite(symmetric_kl((zero, zero), (zero + 1, zero)))  # no variance at all


def test_it_grows_with_the_shift():
    rng = np.random.default_rng(0)
    source, scores = moments(rng.normal(size=(512, 8))), []
    for shift in (0, 0.1, 0.3, 1, 3):
        scores.append(symmetric_kl(moments(rng.normal(shift, 1, (64, 8))), source))
    assert scores == sorted(scores)


def test_layers_are_found_by_either_name():
    a, b = np.zeros(2), np.ones(2)
    assert layer_moments({"n.mean": a, "n.var": b}, "n") == (a, b)
    assert layer_moments({"mean.n": a, "var.n": b}, "n") == (a, b)
    assert layer_moments({"n.mean": a}, "n") is None
    assert layer_moments({}, "n") is None


def test_distance_skips_layers_that_nothing_is_known_of():
    seen = {k: Moments(np.zeros(2), np.ones(2), 8.0) for k in ("a", "b")}
    assert distance(seen, {"mean.b": np.zeros(2), "var.b": np.ones(2)}) == {"b": 0.0}
    assert distance(seen, {}) == {}
