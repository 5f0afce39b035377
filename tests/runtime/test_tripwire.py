"""The tripwire: it notices another world within a few frames, and what is done then is the governor's."""

import numpy as np
import pytest

from tests.runtime.conftest import frames
from tta.corruptions import corrupt
from tta.records import Prediction
from tta.runtime.loop import advance
from tta.runtime.stream import Stream
from tta.runtime.tripwire import LEAST, NEWEST, RECENT, Tripwire


def answer(rng, scale=1.0):
    logits = np.float32(rng.normal(size=4) * scale)
    p = np.exp(logits) / np.exp(logits).sum()
    features = np.float32(rng.normal(size=8))
    entropy = float(-(p * np.log(p)).sum())
    return Prediction({"logits": logits, "features": features}, p, entropy, 0.0, "")


def passed(wire, inputs, rng, scale=1.0):
    """Numbers of the frames at which a look was due, and what was looked at."""
    looks = []
    for k, x in enumerate(inputs):
        wire.see(x, answer(rng, scale))
        if (seen := wire.look()) is not None:
            looks.append((k, seen))
    return looks


@pytest.mark.parametrize(
    "change", [lambda x: x + 2, lambda x: x * 6, lambda x: np.repeat(x[..., ::4], 4, axis=3)]
)
def test_it_trips_soon_after_the_input_changes(change):
    rng = np.random.default_rng(0)
    steady = np.float32(rng.normal(size=(RECENT + 20, 3, 8, 8)))
    wire = Tripwire("logits")
    passed(wire, steady, rng)
    before = wire.trips
    after = np.float32(change(rng.normal(size=(12, 3, 8, 8)).astype(np.float32)))
    looks = passed(wire, after, rng)
    assert wire.trips == before + 1
    assert [len(seen) for _, seen in looks] == [4, 8]
    first, seen = looks[0]
    assert first < 8 and np.array_equal(seen, after[first - 3 : first + 1])


def test_it_trips_where_only_the_answers_change():
    rng = np.random.default_rng(1)
    steady = np.float32(rng.normal(size=(RECENT + 20, 3, 8, 8)))
    wire = Tripwire("logits")
    passed(wire, steady, rng)
    before = wire.trips
    passed(wire, np.float32(rng.normal(size=(12, 3, 8, 8))), rng, scale=20.0)
    assert wire.trips == before + 1


def test_a_steady_stream_trips_it_seldom_and_a_short_one_never():
    rng = np.random.default_rng(2)
    wire = Tripwire("logits")
    passed(wire, np.float32(rng.normal(size=(LEAST + NEWEST - 1, 3, 8, 8))), rng)
    passed(wire, np.full((0, 3, 8, 8), 9, np.float32), rng)
    assert wire.trips == 0
    passed(wire, np.float32(rng.normal(size=(500, 3, 8, 8))), rng)
    assert wire.trips <= 10


@pytest.mark.parametrize("shape", [(), (5,), (1, 1, 1)])
def test_inputs_of_any_shape_and_answers_without_classes(shape):
    wire = Tripwire("y")
    rng = np.random.default_rng(3)
    for k in range(60):
        x = np.full(shape, 100.0 if k > 50 else rng.normal(), np.float32)
        none = np.zeros(0, np.float32)
        wire.see(x, Prediction({"y": np.zeros(1, np.float32)}, none, float("nan"), 0.0, ""))
    assert wire.trips == 1


def test_the_source_serves_again_before_the_next_round_is_due(model, clean):
    """Fog that ends two frames after a round: the source is back long before the next one."""
    images = clean[:160]
    foggy = corrupt(images[:98], "fog", 5)
    stream = Stream(model, "auto", quarantine="none")
    served = []
    for frame in frames(np.concatenate([foggy, images[98:130]])):
        (result,) = advance(stream, frame)
        served.append(result.prediction.state)
    source = model.source_hash
    assert served[97] != source
    back = served[98:].index(source)
    assert back <= 8 and set(served[98 + back :]) == {source}
