"""NEO against its one formula, and what it is for: a shift that all features share."""

import numpy as np
import pytest

from tests.bundles import batches, bundle, session
from tta.adapters.neo import Neo
from tta.errors import TtaError
from tta.records import Step

NAME = "fashion:factory"


def begun(**options):
    method, opened = Neo(**options), bundle(NAME)
    return method, method.init(opened.manifest, opened.source_slots)


def test_logits_are_those_of_features_about_the_mean_of_all_seen():
    method, state = begun()
    run, seen = session(NAME).run, []
    weight, bias = (state.slots[f"head.{k}"].astype(np.float64) for k in ("weight", "bias"))
    for k, n in enumerate((5, 1, 12)):
        x = batches(NAME, n, seed=k)
        z = run("batch", x, bundle(NAME).source_slots, alpha=0.0).outputs["features"]
        seen += list(z.astype(np.float64))
        state, outputs = method.adapt(state, x, run)
        centre = np.mean(seen, axis=0)
        want = np.array([weight @ (one - centre) + bias for one in z])
        assert np.allclose(outputs["logits"], want, rtol=1e-5, atol=1e-5)
        assert np.allclose(state.slots["features.shift"], -centre, rtol=1e-6, atol=1e-7)
        served = run("batch", x, state.slots, alpha=0.0).outputs["logits"]
        assert np.allclose(served, want, rtol=1e-4, atol=1e-4)


def test_a_shift_of_all_features_changes_no_answer():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(16, len(bundle(NAME).source_slots["features.shift"]))).astype(np.float32)
    offset = rng.normal(size=z.shape[1]).astype(np.float32) * 10

    def answers(features):
        def run(graph, batch, slots, **inputs):
            return Step({"features": features, "logits": np.zeros((len(features), 10), np.float32)})

        method, state = begun()
        return method.adapt(state, features, run)[1]["logits"]

    assert np.allclose(answers(z), answers(z + offset), atol=1e-3)
    head = bundle(NAME).source_slots["head.weight"]
    assert np.abs(offset @ head.T).max() > 1  # without re-centring they would differ


def test_with_momentum_the_past_fades():
    method, state = begun(momentum=0.5)
    run = session(NAME).run
    for k in range(4):
        state, _ = method.adapt(state, batches(NAME, 4, seed=k), run)
    before = state.memory["centroid"]
    x = batches(NAME, 4, seed=9)
    state, _ = method.adapt(state, x, run)
    z = run("batch", x, state.slots, alpha=0.0).outputs["features"].mean(0)
    assert np.allclose(state.memory["centroid"], 0.5 * before + 0.5 * z, atol=1e-5)


def test_bad_use():
    with pytest.raises(TtaError, match="momentum"):
        Neo(2.0)
    opened = bundle(NAME)
    slots = {k: v for k, v in opened.source_slots.items() if not k.startswith("head")}
    with pytest.raises(TtaError, match=r"head\.weight"):
        Neo().init(opened.manifest, slots)
