"""Every file in tta/drift/ on synthetic streams, and what each of them measures."""

import math
import re

import numpy as np
import pytest

from tests.test_governor import SOURCE, answer, manifest, view
from tta import registry
from tta.records import Step

NAMES = registry.names("tta.drift")


def made(name):
    return registry.load("tta.drift", name)(manifest(), SOURCE)


def fed(metric, shift, entropy, steps=40):
    for k in range(steps):
        metric.observe(answer(entropy + 0.01 * (-1) ** k))
        metric.observe_step(view(shift, seed=k))
    return metric


@pytest.mark.parametrize("name", NAMES)
def test_it_cites_its_source(name):
    assert re.search(r"\b(19|20)\d\d\b", registry.load("tta.drift", name).__doc__)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_seen_is_no_score(name):
    metric = made(name)
    assert math.isnan(metric.score()) and dict(metric.layers()) == {}
    metric.reset()
    assert math.isnan(metric.score())


@pytest.mark.parametrize("name", NAMES)
def test_a_drifted_stream_scores_higher(name):
    low, high = fed(made(name), 0.0, 0.2), fed(made(name), 1.5, 1.2)
    assert 0 <= low.score() < high.score() < math.inf
    assert all(high.layers()[k] > v for k, v in low.layers().items())


@pytest.mark.parametrize("name", NAMES)
def test_reset_forgets(name):
    metric = fed(made(name), 1.5, 1.2)
    metric.reset()
    assert math.isnan(metric.score()) and dict(metric.layers()) == {}
    again = fed(metric, 0.3, 0.5).score()
    assert again == fed(made(name), 0.3, 0.5).score()


@pytest.mark.parametrize("name", NAMES)
def test_broken_values_do_not_stick(name):
    metric = made(name)
    metric.observe(answer(math.nan))  # a model without probabilities
    metric.observe_step(Step({}))  # a model without norm layers
    assert math.isnan(metric.score())
    assert math.isfinite(fed(metric, 0.0, 0.3).score())


@pytest.mark.parametrize("name", NAMES)
def test_without_source_statistics(name):
    metric = registry.load("tta.drift", name)(manifest(), {})
    score = fed(metric, 1.0, 0.5).score()
    assert math.isnan(score) or score == pytest.approx(0.5, abs=0.05)


def test_entropy_is_a_moving_average():
    metric, want = made("entropy"), None
    for k in range(50):
        value = 1 + math.sin(k)
        metric.observe(answer(value))
        want = value if want is None else 0.95 * want + 0.05 * value
    assert metric.score() == pytest.approx(want, rel=1e-12)


def test_statistics_kl_is_the_mean_over_layers_of_the_last_batch():
    metric = fed(made("statistics_kl"), 2.0, 0.0)
    seen = view(0.7, seed=3)
    metric.observe_step(seen)
    layers = {}
    for name, (mean, var, _) in seen.moments.items():
        a, b = np.asarray(var) + 1e-3, 1.001
        layers[name] = np.mean(0.5 * ((a + mean**2) / b + (b + mean**2) / a) - 1)
    assert metric.layers() == pytest.approx(layers)
    assert metric.score() == pytest.approx(np.mean(list(layers.values())))
