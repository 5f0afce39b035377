"""Stream time: what rounds are told of it, and that states do not depend on the frame rate."""

import dataclasses

import numpy as np
import pytest

from tests.bench.frame_rates import after, distance, held
from tests.runtime.conftest import frames
from tta.errors import TtaError
from tta.records import Frame, Span, Step
from tta.runtime.loop import advance
from tta.runtime.method import make_adapter
from tta.runtime.passage import Passage, Spanned
from tta.runtime.stream import Stream

ADAPTER = "bn_stats?tau_s=20"


def test_a_clip_gives_the_same_state_at_5_15_and_30_fps(model, clean):
    """By the second within 2 %; by the batch, 16 frames are 3.2 s or 0.5 s, and the states are far apart."""
    source, clip = model.bundle.source_slots, held(clean)
    states = {fps: after(model, clip, fps, 64.0, ADAPTER, 16) for fps in (5, 15, 30)}
    apart = [distance(states[fps], states[30], source) for fps in (5, 15)]
    plain = [after(model, clip, fps, 64.0, "bn_stats", 16) for fps in (5, 30)]
    by_batch = distance(*plain, source)
    print("apart:", apart, "by batch:", by_batch)
    assert max(apart) < 0.02 and by_batch > 0.2


def test_the_batch_does_not_matter_either(model, clean):
    source, clip = model.bundle.source_slots, held(clean)
    a, b = (after(model, clip, 10, 32.0, ADAPTER, n) for n in (10, 32))
    assert distance(a, b, source) < 0.02


def told(times):
    passage = Passage()
    for t in times:
        passage.tick(t)
    return passage.take(Step({"features": np.zeros((4, 3), np.float32)}))


def test_time_that_passed():
    assert (
        told([5.0, 5.5, 6.0, 6.5]).seconds == 2.0
    )  # the first frame stands for as long as the second
    assert told([5.0]).seconds == 0
    assert told([0.0] * 9).seconds == 0
    assert told([3.0, 4.0, 1.0, 2.0, 3.0]).seconds == 4.0  # set back by four seconds
    passage = Passage()
    step = Step({"y": np.zeros((2, 1))})
    found = []
    for t in (0.0, 1.0, 2.0, 7.0):
        passage.tick(t)
        found.append(passage.take(step).seconds)
    assert found == [0, 2, 1, 5]


def test_worth_of_frames(rng):
    """AR(1) features of correlation 0.8 are worth n/9; identical ones one; independent ones n."""
    n, d = 400, 200
    noise = rng.normal(size=(n, d))
    x = np.zeros((n, d))
    x[0] = noise[0]
    for k in range(1, n):
        x[k] = 0.8 * x[k - 1] + 0.6 * noise[k]
    passage = Passage(np.ones(d))

    def worth(features):
        return passage.take(Step({"features": features.astype(np.float32)})).effective

    assert worth(x) == pytest.approx(n / 9, rel=0.05)
    assert worth(noise) == pytest.approx(n, rel=0.1)
    assert worth(np.repeat(noise[:1], 10, 0)) == 1
    assert worth(noise[:1]) == 1
    assert Passage().take(Step({"features": np.repeat(noise[:1], 10, 0)})).effective == 1


def test_a_part_of_a_round_has_its_part_of_the_time(model, inputs, clean):
    batch = inputs(clean[:6])
    spanned = Spanned(model.adapting.run, Span(6, 3.0, 2.0))
    step = spanned("batch", batch[:2], model.bundle.source_slots, alpha=0.0)
    assert step.span == Span(2, 1.0, pytest.approx(2 / 3))


@pytest.mark.parametrize(
    "clock",
    [lambda t: 0.0, lambda t: -t, lambda t: t % 0.5, lambda t: t + 1e6 * (t > 0.5)],
    ids=["stands still", "runs back", "is set back", "jumps ahead"],
)
@pytest.mark.parametrize("adapter", [ADAPTER, "tent?tau_s=20"])
def test_a_broken_clock_breaks_nothing(model, drifted, clock, adapter):
    stream = Stream(model, adapter, batch=8, governor="always", metrics=[])
    for frame in frames(drifted[:40]):
        moved = dataclasses.replace(frame, t_s=clock(frame.t_s))
        assert [r.prediction for r in advance(stream, moved)]
    slots = stream.current.slots
    assert stream.counts.failures == stream.counts.rollbacks == 0
    assert all(np.isfinite(v).all() for v in slots.values())
    assert all((v > 0).all() for k, v in slots.items() if k.endswith(".var"))


@pytest.mark.parametrize("every", [0, 2])
def test_statistics_follow_a_drift_by_the_second(model, drifted, every):
    """After three time constants little of the source is left in the first norm, sampled or not."""
    source = model.bundle.source_slots
    images = [Frame(x, k / 8, k) for k, x in enumerate(drifted[:240])]
    stream = Stream(model, "bn_stats?tau_s=10", batch=8, governor="always", metrics=[], every=every)
    for frame in images:
        list(advance(stream, frame))
    seen = model.adapting.run(
        "batch", np.stack([stream.preprocess(f) for f in images]), source, alpha=0.0
    )
    mean, var = seen.moments["norm"].mean, seen.moments["norm"].var
    rest = stream.current.slots["norm.var"] - var
    assert np.abs(rest).sum() < 0.1 * np.abs(source["norm.var"] - var).sum()
    assert np.abs(stream.current.slots["norm.mean"] - mean).max() < 0.1


def test_single_frames_will_do(model, drifted):
    stream = Stream(model, ADAPTER, batch=1, governor="always", metrics=[])
    for frame in frames(drifted[:20]):
        list(advance(stream, frame))
    assert stream.counts.commits == 20


@pytest.mark.parametrize("option", ["tau_s=3", "ghost=8"])
def test_prior_goes_with_batches_alone(option):
    with pytest.raises(TtaError, match="prior"):
        make_adapter(f"bn_stats?{option}&prior=4")
