"""The correction of channels: when it comes, and that the model's input is continuous."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.firmware_bridge.test_bridge_session import SCHEMA, Cable, in_units
from tta.errors import SourceError
from tta.firmware_bridge import normalization
from tta.firmware_bridge.session import Samples
from tta.manifest import InputSpec
from tta.records import Frame
from tta.runtime.channel_norm import ChannelNorm, Correction, attach
from tta.runtime.source_uri import open_source
from tta.runtime.window_input import WindowInput

MEAN, STD = np.array([0.1, 5.0]), np.array([0.5, 20.0])


def inner(length=20):
    spec = {"channels": 2, "length": length, "mean": MEAN.tolist(), "std": STD.tolist()}
    return WindowInput(spec, InputSpec("x", (None, 2, length), "float32"))


def feed(norm, values, seq=0):
    """Windows from chunks of ten samples."""
    out = []
    for k in range(0, len(values), 10):
        window = norm(Frame(values[k : k + 10].T.astype(np.float32), 0.0, seq + k // 10))
        if window is not None:
            out.append(window)
    return out


def readings(rng, n, off=(0.0, 0.0), wide=(1.0, 1.0)):
    return MEAN + STD * (np.array(off) + np.array(wide) * rng.standard_normal((n, 2)))


def test_nothing_happens_at_the_source(rng):
    norm = ChannelNorm(inner(), MEAN, STD, 500)
    feed(norm, readings(rng, 20_000))
    assert norm.correction is None and norm.changes == 0


@pytest.mark.parametrize("off, wide", [((1.0, -0.8), (1, 1)), ((0, 0), (2.0, 0.4))])
def test_a_shift_is_corrected_once_and_taken_back(rng, off, wide):
    said = []
    norm = ChannelNorm(inner(), MEAN, STD, 500, said.append)
    feed(norm, readings(rng, 2000))
    late = feed(norm, readings(rng, 4000, off, wide), 200)[-100:]
    assert norm.changes == 1 and len(said) == 1
    np.testing.assert_allclose(norm.correction.mean, MEAN + STD * off, atol=0.2 * STD.max())
    last = np.concatenate(late, 1)
    assert np.abs(last.mean(1)).max() < 0.15 and np.abs(last.std(1) - 1).max() < 0.15
    feed(norm, readings(rng, 4000), 600)
    assert said[1:] == [None] and norm.correction is None


def test_a_window_is_of_one_correction_only(rng):
    """A change in the middle of a window corrects all of it or nothing of it."""
    norm = ChannelNorm(inner(20), MEAN, STD, 130)
    windows = feed(norm, np.tile(MEAN + STD, (600, 1)))
    assert max(float(np.ptp(w, 1).max()) for w in windows) == 0 and norm.changes == 1


def test_a_constant_channel_is_no_division_by_zero():
    norm = ChannelNorm(inner(), MEAN, STD, 100)
    windows = feed(norm, np.tile(MEAN + 2 * STD, (1000, 1)))
    assert np.isfinite(windows[-1]).all() and np.abs(windows[-1]).max() < 1e-3


def test_the_models_input_is_continuous_across_every_switch(rng):
    """A device that takes norms, refuses none, and is switched ten times; a twin host corrects alone."""
    cable = Cable().run(2)
    device, alone = (ChannelNorm(inner(10), MEAN, STD, 10**9) for _ in range(2))
    worst = 0.0
    used = 0
    for k in range(10):
        mean, std = MEAN + STD * rng.uniform(-1, 1, 2), STD * rng.uniform(0.5, 2, 2)
        for each in (device, alone):
            each._adopt(Correction(mean, std))
        norm = normalization.make(k + 1, mean, std, SCHEMA)
        cable.session.normalize(norm)
        cable.run(3)
        batch = [e for e in cable.events[used:] if isinstance(e, Samples)]
        used = len(cable.events)
        assert {e.epoch for e in batch} <= {k, k + 1} and batch[-1].epoch == k + 1
        for seq, e in enumerate(batch):
            truth = in_units(cable.inputs[e.first : e.first + len(e.values)])
            got = device(Frame(e.values.T, 0.0, seq))
            expected = alone(Frame(truth.T.astype(np.float32), 0.0, seq))
            step = normalization.finest(cable.session.norms[e.epoch], SCHEMA) / STD
            worst = max(worst, float((np.abs(got - expected) / step[:, None]).max()))
    assert 0 < worst <= 1.01


def test_it_goes_into_a_stream_and_sends_slots_back_to_the_source():
    preprocess = {"kind": "window", "mean": MEAN.tolist(), "std": STD.tolist()}
    calls = []
    stream = SimpleNamespace(
        model=SimpleNamespace(
            bundle=SimpleNamespace(manifest=SimpleNamespace(preprocess=preprocess))
        ),
        preprocess=inner(),
        to_source=lambda: calls.append("source"),
    )
    norm = attach(stream, 100, lambda correction: calls.append(correction))
    assert stream.preprocess is norm
    feed(norm, np.tile(MEAN + STD, (300, 1)))
    assert calls[0] == "source" and len(calls) == 2
    stream.model.bundle.manifest.preprocess = {"kind": "image"}
    with pytest.raises(SourceError, match="needs a bundle whose preprocess makes windows"):
        attach(stream, 100)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("correct=maybe", "correct of serial:// is off, host or device"),
        ("horizon=3", "horizon of serial:// must be at least 64"),
        ("codec=morse", "codec of serial:// is auto, csv or cobs"),
    ],
)
def test_options(query, message):
    with pytest.raises(SourceError, match=message):
        open_source(f"serial://loop://?{query}")
