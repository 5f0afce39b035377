"""The closed-form head: weighted samples, evidence, and what a fit makes of a state."""

import numpy as np
import pytest

from tta.evaluation.head_fit import NOISES, fit
from tta.heads.student_t import StudentT
from tta.records import State


def test_a_weight_counts_like_so_many_samples(rng):
    phi, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    times = np.array([1, 2, 3, 1, 1, 2, 1])
    weighted = StudentT.prior(3, 2).with_samples(phi, y, times.astype(float))
    repeated = StudentT.prior(3, 2).with_samples(np.repeat(phi, times, 0), np.repeat(y, times, 0))
    assert weighted.shape == repeated.shape
    for a, b in zip(weighted.predict(phi), repeated.predict(phi)):
        assert np.allclose(a, b)


def test_evidence_is_the_density_of_the_samples(rng):
    """Up to a constant, the multivariate t density with kernel ΦΦᵀ + εI written out."""
    phi, y = rng.normal(size=(9, 3)), rng.normal(size=9)
    off = []
    for noise in (0.1, 1.0, 7.0):
        kernel = phi @ phi.T + noise * np.eye(9)
        want = -0.5 * np.linalg.slogdet(kernel)[1] - (1 + 9 / 2) * np.log(
            1 + 0.5 * y @ np.linalg.solve(kernel, y)
        )
        off.append(want - StudentT.prior(3, noise=noise).with_samples(phi, y).evidence())
    assert np.ptp(off) < 1e-9


def state(rng, d=6, p=2):
    slots = {
        "head.weight": rng.normal(size=(p, d)).astype(np.float32),
        "head.bias": rng.normal(size=p).astype(np.float32),
    }
    return State("bundle", "bn_stats", slots)


def answers(made, features):
    return features @ made.slots["head.weight"].T.astype(float) + made.slots["head.bias"]


def test_the_new_layer_says_what_the_head_predicts_and_learns_another_unit(rng):
    before, features = state(rng), rng.normal(1.0, 2.0, (80, 6))
    said = answers(before, features)
    moments = (np.ones(6), np.full(6, 4.0))
    found = fit(before, features[:40], said[:40], 3 * said[:40] - 1, moments)
    values, half = found.predict(features, said)
    assert np.allclose(answers(found.state, features), values, atol=1e-4)
    apart = np.abs(values - (3 * said - 1))[40:]
    assert apart.mean() < 0.02 * np.abs(said).mean() and (apart <= half[40:]).mean() > 0.9
    assert found.head.noise == min(NOISES) and found.state.parent == before.hash


def test_noise_is_not_learned(rng):
    """Residuals that features do not explain leave the layer nearly as it was exported."""
    before, features = state(rng), rng.normal(size=(60, 6))
    said = answers(before, features)
    found = fit(
        before, features, said, said + rng.normal(size=said.shape), (np.zeros(6), np.ones(6))
    )
    values, half = found.predict(features, said)
    assert np.abs(values - said).mean() < 0.5 and 1.0 < half.mean() < 3.0


def test_what_is_old_is_forgotten(rng):
    before, features = state(rng, p=1), rng.normal(size=(100, 6))
    said = answers(before, features)
    targets = said + np.where(np.arange(100) < 70, 5.0, -5.0)[:, None]
    moments = (np.zeros(6), np.ones(6))
    kept, lost = (fit(before, features, said, targets, moments, f) for f in (1.0, 0.8))
    change = [
        float((m.state.slots["head.bias"] - before.slots["head.bias"])[0]) for m in (kept, lost)
    ]
    assert change[0] > 0.5 and change[1] < -2.0


@pytest.mark.parametrize("p", [1, 3])
def test_a_single_label_moves_a_little(rng, p):
    before, features = state(rng, p=p), rng.normal(size=(1, 6))
    said = answers(before, features)
    found = fit(before, features, said, said + 1.0, (np.zeros(6), np.ones(6)))
    values, _ = found.predict(features, said)
    assert ((values > said) & (values < said + 1.0 + 1e-9)).all()
