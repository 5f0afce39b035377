"""Statistics from every k-th frame: they are those of the frames, and serve them as well."""

import numpy as np
import pytest

from tests.runtime.conftest import Images, Kept, frames
from tta.errors import TtaError
from tta.records import Moments, Step
from tta.runtime.loop import advance, run
from tta.runtime.sampling import Pool
from tta.runtime.stream import Stream

M = 8


def test_pooled_moments_are_those_of_the_whole_batch(model, inputs, drifted):
    batch, run = inputs(drifted[:12]), model.adapting.run
    slots, pool = model.bundle.source_slots, Pool()
    for x in batch:
        pool.add(run("batch", x[None], slots, alpha=0.0))
    got, want = pool.take(), run("batch", batch, slots, alpha=0.0)
    assert pool.frames == 0
    for layer, moments in want.moments.items():
        scale = np.sqrt(moments.var) + 1e-6
        assert np.abs((got.moments[layer].mean - moments.mean) / scale).max() < 1e-4
        assert np.abs(got.moments[layer].var / scale**2 - moments.var / scale**2).max() < 1e-3
        assert got.moments[layer].n == moments.n
    for name, value in want.outputs.items():
        np.testing.assert_allclose(got.outputs[name], value, rtol=1e-4, atol=1e-4)


def test_pooling_by_hand():
    pool = Pool()
    for mean in (1.0, 3.0):
        one = Moments(np.array([mean], np.float32), np.array([0.5], np.float32), 4.0)
        pool.add(Step({"y": np.full((1, 2), mean)}, {"bn": one}))
    step = pool.take()
    assert step.moments["bn"].mean == [2.0] and step.moments["bn"].var == [1.5]
    assert step.moments["bn"].n == 8 and step.outputs["y"][:, 0].tolist() == [1, 3]


def streamed(model, images, every, **more):
    stream = Stream(model, "bn_stats", every=every, batch=M, governor="always", **more)
    return stream, [r for frame in frames(images) for r in advance(stream, frame)]


@pytest.mark.parametrize("every", [2, 3])
def test_every_kth_frame_teaches_as_those_frames_alone_do(model, drifted, every):
    """The frames between are answered, and nothing is learned from them."""
    stream, told = streamed(model, drifted[: 3 * M * every], every)
    alone, _ = streamed(model, drifted[: 3 * M * every : every], 1)
    assert len(told) == 3 * M * every and stream.counts.sampled == alone.counts.sampled == 3 * M
    assert stream.counts.commits == alone.counts.commits == 3
    assert stream.current.hash == alone.current.hash


def test_a_sampled_frame_is_answered_by_the_state_in_force(model, drifted, inputs):
    stream, told = streamed(model, drifted[: 5 * M], 2)
    served = stream.session.run(inputs(drifted[4 * M : 5 * M]))["logits"]
    got = np.array([r.prediction.outputs["logits"] for r in told[4 * M :]])
    np.testing.assert_allclose(got, served, rtol=1e-3, atol=1e-3)
    assert {r.prediction.state for r in told[4 * M :]} == {stream.serving}


def test_after_the_first_commit_the_moving_average_takes_in_the_pool(model, drifted):
    """Two rounds: whole-batch statistics at the start, then one share of the pooled ones."""
    stream, _ = streamed(model, drifted[: 2 * M], 1)
    first, _ = streamed(model, drifted[:M], 1)
    pool = Pool()
    for r in frames(drifted[M : 2 * M]):
        x = first.preprocess(r)
        pool.add(model.adapting.run("batch", x[None], first.current.slots, alpha=0.0))
    want = first.method.observe(first.current, pool.take())
    assert stream.current.hash == want.hash and stream.current.step == 2


def test_commits_are_at_least_so_many_seconds_apart(model, drifted):
    """Stream time: the frames are 1/30 s apart."""
    stream, _ = streamed(model, drifted[:120], 1, commit_s=1.0)
    assert stream.counts.commits == 4 and stream.pool.frames < 120


def test_sampling_follows_a_drift(bundle, drifted, labels):
    wrong = {}
    for adapter in ("none", "bn_stats"):
        sink = Kept()
        more = {"every": 4} if adapter != "none" else {}
        run(bundle, Images(drifted[:400]), adapter, sink, **more)
        answers = [r.prediction.label for r in sink.results[200:]]
        wrong[adapter] = np.mean(answers != labels[200:400])
    assert wrong["bn_stats"] < wrong["none"] - 0.15


def test_a_method_that_cannot_observe_is_refused(model):
    with pytest.raises(
        TtaError, match=r"--every needs an adapter .*; 'tent' runs a step of its own"
    ):
        Stream(model, "tent", every=8)
