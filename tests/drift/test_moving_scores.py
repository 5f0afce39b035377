"""The two metrics that the governor and the levels hang on: moving averages and layer statistics."""

import math
import re

import numpy as np
import pytest

from tests.drift.test_closed_forms import view as frames
from tests.test_governor import SOURCE, manifest, view
from tta import registry


def made(name):
    return registry.load("tta.drift", name)(manifest(), SOURCE)


@pytest.mark.parametrize("name", registry.names("tta.drift"))
def test_it_cites_its_source(name):
    assert re.search(r"\b(19|20)\d\d\b", registry.load("tta.drift", name).__doc__)


@pytest.mark.parametrize("name", ("entropy", "confidence"))
def test_a_moving_average_does_not_depend_on_the_block_but_by_its_order(name):
    """Blocks of one are the textbook average; a block of equal frames counts as that many of them."""
    metric, want = made(name), None
    for k in range(50):
        seen = frames(logits=np.array([[1 + math.sin(k), 0, 0, 0]]))
        metric.observe(seen)
        value = float(getattr(seen, name)[0])
        want = value if want is None else 0.95 * want + 0.05 * value
    assert metric.score() == pytest.approx(want, rel=1e-9)
    alike = frames(logits=np.tile([2.0, 0, 0, 0], (7, 1)))
    metric.observe(alike)
    for _ in range(7):
        want = 0.95 * want + 0.05 * float(getattr(alike, name)[0])
    assert metric.score() == pytest.approx(want, rel=1e-9)


def test_statistics_kl_is_the_mean_over_layers_of_the_last_batch():
    metric = made("statistics_kl")
    metric.observe_step(view(2.0))
    seen = view(0.7, seed=3)
    metric.observe_step(seen)
    layers = {}
    for name, (mean, var, _) in seen.moments.items():
        a, b = np.asarray(var) + 1e-3, 1.001
        layers[name] = np.mean(0.5 * ((a + mean**2) / b + (b + mean**2) / a) - 1)
    assert metric.layers() == pytest.approx(layers, rel=1e-6)
    assert metric.score() == pytest.approx(np.mean(list(layers.values())), rel=1e-6)
