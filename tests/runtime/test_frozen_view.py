"""The frozen view: what the monitor sees of a stream, whatever adaptation does to its answers."""

import dataclasses

import numpy as np
import pytest

from tta import registry
from tta.records import Frame, Prediction
from tta.runtime.loop import advance
from tta.runtime.stream import Stream
from tta.watch import AlarmPolicy


class Eyes:
    """A monitor's place in a stream, which remembers what it was shown."""

    def __init__(self, stream):
        self.seen, self.real = [], stream.monitor
        stream.monitor = self

    def observe(self, prediction, x=None):
        self.seen.append((prediction, x))

    def __getattr__(self, name):
        return getattr(self.real, name)


def run(stream, images, serve="stream"):
    eyes = Eyes(stream)
    results = [r for k, x in enumerate(images) for r in advance(stream, Frame(x, k / 30, k), serve)]
    return eyes.seen, results


def logits(model, images, stream):
    inputs = np.stack([stream.preprocess(Frame(x, 0.0, 0)) for x in images])
    return model.source.run(inputs)["logits"]


def test_on_the_source_every_frame_is_seen_as_it_was_served(model, clean):
    stream = Stream(model, "none", governor="off")
    seen, results = run(stream, clean[:40])
    assert len(seen) == 40
    assert all(s[0] is r.prediction for s, r in zip(seen, results))


def test_once_adapted_the_frozen_model_is_seen_through_the_rounds(model, drifted):
    stream = Stream(model, "tent", batch=16, governor="always")
    seen, results = run(stream, drifted[: 16 + 80])
    assert stream.counts.commits >= 1
    assert len(seen) == 16 + 80  # each frame once: as served, and then with its round
    frozen = logits(model, drifted[: 16 + 80], stream)
    for (prediction, _), expected in zip(seen, frozen):
        np.testing.assert_allclose(prediction.outputs["logits"], expected, rtol=1e-4, atol=1e-4)
    served = results[-1].prediction.outputs["logits"]
    assert np.abs(served - seen[-1][0].outputs["logits"]).max() > 1e-3  # adaptation shows elsewhere


def test_a_method_that_changes_answers_does_not_change_what_is_seen(model, clean):
    class Louder:
        needs = frozenset()

        def init(self, manifest, slots):
            return registry.load("tta.adapters", "none")().init(manifest, slots)

        def adapt(self, state, batch, run):
            return state, run("batch", batch, state.slots, alpha=0.0).outputs

        def predict(self, prediction, state):
            return dataclasses.replace(prediction, entropy=99.0)

    stream = Stream(model, Louder(), governor="off")
    seen, results = run(stream, clean[:20])
    assert all(r.prediction.entropy == 99.0 for r in results)
    assert all(isinstance(p, Prediction) and p.entropy < 3 for p, _ in seen)


@pytest.mark.parametrize("adapter", ("none", "tent"))
def test_batch_serving_shows_the_frozen_model_too(model, drifted, adapter):
    stream = Stream(model, adapter, batch=16, governor="always")
    seen, _ = run(stream, drifted[:64], "batch")
    frozen = logits(model, drifted[:64], stream)
    assert len(seen) == 64
    for prediction, _ in seen:
        assert np.abs(frozen - prediction.outputs["logits"]).max(1).min() < 1e-3


def test_the_policy_reaches_the_watch(model):
    stream = Stream(model, "none", alarms=AlarmPolicy(detector="page_hinkley", warm_up=0))
    assert stream.monitor.watch.policy.detector == "page_hinkley"


def test_the_distance_of_the_state_is_reported(model, drifted):
    stream = Stream(model, "tent", batch=16, governor="always")
    assert stream.monitor.report().scores["parameter_distance"] == 0
    for k, x in enumerate(drifted[:32]):
        list(advance(stream, Frame(x, k / 30, k)))
    assert stream.monitor.report().scores["parameter_distance"] > 0
