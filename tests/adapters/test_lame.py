"""LAME against plain loops, and its known effects on sorted and independent streams."""

import numpy as np
import pytest

from tests.bundles import batches, bundle, session
from tta.adapters.lame import Lame
from tta.errors import TtaError


def reference(logits, features, affinity, neighbours, iterations):
    n, k = logits.shape
    p = [np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in logits]
    f = [row / np.linalg.norm(row) for row in features]
    d = [[float(np.linalg.norm(a - b)) for b in f] for a in f]
    near = [
        sorted((j for j in range(n) if j != i), key=lambda j: d[i][j])[:neighbours]
        for i in range(n)
    ]
    sigma = np.mean([d[i][near[i][-1]] for i in range(n)])
    z = [row.copy() for row in p]
    for _ in range(iterations):
        new = []
        for i in range(n):
            pull = np.zeros(k)
            for j in range(n):
                if j == i:
                    continue
                w = {
                    "knn": float(j in near[i]),
                    "rbf": np.exp(-(d[i][j] ** 2) / (2 * sigma**2)),
                    "linear": f[i] @ f[j],
                }[affinity]
                pull += w * z[j]
            row = p[i] * np.exp(pull - pull.max())
            new.append(row / row.sum())
        z = new
    return np.array(z)


@pytest.mark.parametrize("affinity", ["knn", "rbf", "linear"])
def test_it_equals_loops(affinity):
    opened = bundle("fashion:factory")
    method = Lame(affinity, iterations=7, tolerance=0)
    state = method.init(opened.manifest, opened.source_slots)
    run = session("fashion:factory").run
    x = batches("fashion:factory", 12, seed=3)
    after, outputs = method.adapt(state, x, run)
    plain = run("batch", x, state.slots, alpha=0.0).outputs
    want = reference(plain["logits"].astype(float), plain["features"].astype(float), affinity, 5, 7)
    assert after is state
    assert np.abs(np.exp(outputs["logits"].astype(float)) - want).max() < 1e-5


def errors(sorted_stream):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 16))
    labels = rng.integers(0, 10, 2000)
    labels = np.sort(labels) if sorted_stream else labels
    shared = 4 * rng.normal(size=16)  # a domain's offset draws all features together
    features = shared + centres[labels] + rng.normal(size=(2000, 16))
    logits = 2.0 * rng.normal(size=(2000, 10)) + 3 * np.eye(10)[labels]
    method, wrong = Lame("linear"), []
    for k in range(0, 2000, 50):
        part = logits[k : k + 50]
        log_p = part - np.log(np.exp(part).sum(1, keepdims=True))
        z = method.assign(log_p, method.weights(features[k : k + 50]))
        wrong.append(z.argmax(1) != labels[k : k + 50])
    return np.mean(wrong), np.mean(logits.argmax(1) != labels)


def test_a_dense_affinity_helps_when_sorted_and_hurts_when_independent():
    lame, source = errors(True)
    assert lame < source - 0.1
    lame, source = errors(False)
    assert lame > source + 0.05


def test_one_frame_is_the_sources():
    p = np.log(np.array([[0.7, 0.3]]))
    assert np.allclose(Lame().assign(p, Lame().weights(np.ones((1, 4)))), p)


@pytest.mark.parametrize(
    "options", [{"affinity": "cosine"}, {"neighbours": 0}, {"iterations": 0}, {"tolerance": -1.0}]
)
def test_bad_options_are_refused(options):
    with pytest.raises(TtaError):
        Lame(**options)
