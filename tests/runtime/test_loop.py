"""The loop from source to sink, as `tta.run` drives it."""

import numpy as np
import pytest

from tests.runtime.conftest import (
    SUITING,
    Images,
    Kept,
    Method,
    frames,
    full_bundle,
    full_model,
    serves,
)
from tta.errors import BundleError, NotFoundError, SourceError, TtaError
from tta.records import Frame
from tta.runtime.loop import advance, results, run
from tta.runtime.method import source_state
from tta.runtime.stream import Stream

ADAPTERS = SUITING
STILL = ("none", "lame", "leantta")  # the state never moves
LAST = (
    "lame",
    "leantta",
    "rotta",
    "neo",
    "t3a",
    "actmad",
)  # these change the last layer or its answers, or are slow: too little for this drift
B = 16


def record(results, named=True):
    """What a run says, without its times; as text, since scores begin as nan."""
    return repr([
        (
            r.frame.seq,
            r.stream if named else "",
            r.skipped,
            answer(r),
            r.report.scores,
            r.report.level,
            r.report.decision and (r.report.decision.action, r.report.decision.state),
        )
        for r in results
    ])  # fmt: skip


def fitting(bundle, adapter):
    """The bundle, or one with more graphs where the adapter needs them."""
    return bundle if serves(bundle, adapter) else full_bundle()


def answer(result):
    given = result.prediction
    return given and (given.probabilities.tobytes(), given.state, given.served)


def kept_run(bundle, images, adapter="nhl", **more):
    bundle = fitting(bundle, adapter)
    sink = Kept()
    source = images if hasattr(images, "live") else Images(images)
    (stream,) = run(bundle, source, adapter, sink, **more)
    assert sink.closed
    return stream, sink.results


@pytest.mark.parametrize("serve", ["stream", "batch"])
@pytest.mark.parametrize("governor", ["auto", "always"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_same_run_twice_is_the_same(bundle, drifted, adapter, governor, serve):
    first, told = kept_run(bundle, drifted[:72], adapter, serve=serve, governor=governor)
    again, told_again = kept_run(bundle, drifted[:72], adapter, serve=serve, governor=governor)
    assert first.current.hash == again.current.hash
    assert record(told) == record(told_again)
    assert [r.frame.seq for r in told] == list(range(72))
    assert first.counts == again.counts
    if governor == "always":  # and the rest is answered by a step of its own, or by none
        assert first.counts.commits == (0 if adapter in STILL else 4 + (serve == "batch"))


def test_each_frame_is_answered_by_the_state_before_it(bundle, model, drifted, inputs):
    stream, told = kept_run(bundle, drifted[:40], governor="always")
    states = list(dict.fromkeys(r.prediction.state for r in told))
    assert [r.prediction.state for r in told] == [s for s in states for _ in range(B)][:40]
    assert states[0] == model.source_hash and states[-1] == stream.serving
    assert {r.prediction.served for r in told} == {"stream"}
    source = model.source.run(inputs(drifted[:B]))["logits"]
    got = np.array([r.prediction.outputs["logits"] for r in told[:B]])
    np.testing.assert_allclose(got, source, rtol=1e-4, atol=1e-4)
    last = stream.session.run(inputs(drifted[32:40]))["logits"]
    got = np.array([r.prediction.outputs["logits"] for r in told[32:]])
    np.testing.assert_allclose(got, last, rtol=1e-4, atol=1e-4)
    decided = [r.frame.seq for r in told if r.report.decision]
    assert decided == [15, 31]


def test_adaptation_pays(bundle, drifted, labels):
    """Not that something changes, but that it changes for the better."""
    wrong = {}
    for adapter in (name for name in ADAPTERS if name not in LAST):
        _, told = kept_run(bundle, drifted[:200], adapter)
        wrong[adapter] = np.mean([r.prediction.label for r in told] != labels[:200])
    frozen = wrong.pop("none")
    assert frozen > 0.6 and max(wrong.values()) < 0.45


# Answers of whole batches


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_batches_are_answered_with_the_steps_own_outputs(bundle, model, drifted, inputs, adapter):
    stream, told = kept_run(bundle, drifted[:40], adapter, serve="batch", governor="always")
    model = model if serves(bundle, adapter) else full_model()
    method = Stream(model, adapter).method
    state = source_state(method, model.bundle)
    want = []
    for start in (0, 16, 32):  # the last holds eight frames
        batch = inputs(drifted[start : min(start + B, 40)])
        state, outputs = method.adapt(state, batch, model.adapting.run)
        want.append(outputs["logits"])
    got = np.array([r.prediction.outputs["logits"] for r in told])
    assert np.array_equal(got, np.concatenate(want))
    assert stream.current.hash == state.hash
    assert told[0].prediction.state == told[15].prediction.state != told[39].prediction.state or (
        adapter in STILL
    )
    assert told[-1].prediction.state == stream.serving
    when = "post" if adapter == "nhl" else "pre"
    assert {r.prediction.served for r in told} == {f"batch-{when}"}
    decided = [r.frame.seq for r in told if r.report.decision]
    assert decided == [15, 31, 39]


def test_the_rest_at_the_end_is_answered_but_not_judged(bundle, drifted, clean, inputs):
    """One frame is no batch: by thresholds for sixteen it would look like drift."""
    for images, commits in ((clean[: 2 * B + 1], 0), (drifted[: 2 * B + 1], 1)):
        stream, told = kept_run(bundle, images, serve="batch")
        assert [r.frame.seq for r in told] == list(range(2 * B + 1))
        assert stream.counts.commits == commits == stream.current.step
        last = stream.session.run(inputs(images[-1:]))["logits"][0]
        assert np.array_equal(told[-1].prediction.outputs["logits"], last)
        assert told[-1].prediction.state == stream.serving
        assert told[-1].report.decision is None


def test_a_stream_shorter_than_a_batch_is_answered(bundle, clean):
    for serve in ("stream", "batch"):
        _, told = kept_run(bundle, clean[:5], serve=serve)
        assert [r.prediction is not None for r in told] == [True] * 5


# Frames that cannot be used


def spoilt(image):
    nan = image.astype(np.float32) / 255
    nan[3, 3] = np.nan
    return {
        "NaN": nan,
        "infinite": np.where(np.isnan(nan), np.inf, nan),
        "channels are first": image[None],
        "but the model takes": image[:20],
        "expected 1 or 3": np.repeat(image[..., None], 4, -1),
        "expected uint8": image.astype(np.int64),
        "real numbers from": image.astype(np.float32),
        "complex": image.astype(complex),
        "is empty": image[:0],
        "no array": [[1, 2], [3]],
    }


def streamed(model, images, serve):
    stream = Stream(model, "bn_stats")
    return stream, list(results([(stream, frames(images))], serve))


@pytest.mark.parametrize("serve", ["stream", "batch"])
@pytest.mark.parametrize("reason", spoilt(np.zeros((28, 28), np.uint8)))
def test_a_bad_frame_is_skipped_and_leaves_no_trace(model, drifted, reason, serve):
    bad = spoilt(drifted[0])[reason]
    mixed = list(drifted[:40])
    for place in (33, 16, 7, 0):
        mixed.insert(place, bad)
    stream, told = streamed(model, mixed, serve)
    plain, told_plain = streamed(model, drifted[:40], serve)
    skipped = [r for r in told if r.skipped]
    assert len(skipped) == stream.counts.skipped == 4 and stream.counts.frames == 44
    assert all(r.prediction is None and reason in r.skipped for r in skipped)
    assert reason in stream.complaint
    assert stream.current.hash == plain.current.hash and plain.counts.skipped == 0
    assert [answer(r) for r in told if not r.skipped] == [answer(r) for r in told_plain]


def test_a_stream_of_bad_frames_only(bundle):
    stream, told = kept_run(bundle, np.zeros((20, 5, 5), np.uint8))
    assert len(told) == stream.counts.skipped == 20 and stream.current is stream.origin


# Several streams


@pytest.mark.parametrize("serve", ["stream", "batch"])
def test_streams_do_not_see_each_other(bundle, clean, drifted, serve):
    together = Kept()
    sources = [Images(drifted[:70]), Images(255 - clean[:40]), Images(clean[:33])]
    streams = run(bundle, sources, "nhl", together, serve=serve)
    assert [s.name for s in streams] == ["stream-0", "stream-1", "stream-2"]
    assert all(source.closed for source in sources)
    for stream, images in zip(streams, (drifted[:70], 255 - clean[:40], clean[:33])):
        alone, told = kept_run(bundle, images, serve=serve)
        assert stream.current.hash == alone.current.hash
        assert stream.counts == alone.counts
        mine = [r for r in together.results if r.stream == stream.name]
        assert record(mine, named=False) == record(told, named=False)
    assert len({s.current.hash for s in streams}) == 3
    assert streams[2].session is streams[0].model.source


def test_streams_take_turns(model, clean):
    pairs = [(Stream(model, name=n), frames(clean[:k])) for n, k in (("a", 1), ("b", 3))]
    assert [(r.stream, r.frame.seq) for r in results(pairs)] == [
        ("a", 0), ("b", 0), ("b", 1), ("b", 2),
    ]  # fmt: skip


# Sources and sinks


def test_a_source_without_frames_is_an_error(bundle, clean):
    with pytest.raises(SourceError, match="Images ended without a single frame"):
        run(bundle, Images(clean[:0]))
    sources = [Images(clean[:4]), Images(clean[:0])]
    with pytest.raises(SourceError, match="without a single frame"):
        run(bundle, sources)
    assert all(source.closed for source in sources)


def test_a_limit_asks_for_no_frame_beyond_it(bundle, clean):
    source = Images(clean[:9])
    stream, told = kept_run(bundle, source, limit=4)
    assert len(told) == stream.counts.frames == source.asked == 4


def test_a_live_source_adapts_as_well(bundle, drifted):
    plain, told_plain = kept_run(bundle, drifted[:40], governor="always")
    live, told = kept_run(
        bundle, Images(drifted[:40], live=True), adapt="inline", governor="always"
    )
    assert live.current.hash == plain.current.hash and live.counts.commits == 2
    assert record(told) == record(told_plain)
    beside, told = kept_run(bundle, Images(drifted[:40], live=True), governor="always")
    assert len(told) == 40 and beside.counts.commits >= 1


class Interrupted(Images):
    def __iter__(self):
        yield from super().__iter__()
        raise KeyboardInterrupt


@pytest.mark.parametrize("live", [True, False])
def test_an_interrupt_ends_a_run_and_keeps_what_was_done(bundle, drifted, live):
    stream, told = kept_run(bundle, Interrupted(drifted[:20], live=live), governor="always")
    assert len(told) == 20 and stream.current.step == 1


def test_what_a_source_could_not_read_is_counted(bundle, drifted, tmp_path):
    for k, image in enumerate(drifted[:3]):
        np.save(tmp_path / f"{k}.npy", image)
    (tmp_path / "9.npy").write_bytes(b"damaged")
    [stream] = run(bundle, f"dir://{tmp_path}", "none")
    assert stream.counts.frames == 3 and stream.counts.unreadable == 1
    assert "9.npy" in stream.counts.last_unreadable


def test_every_sink_sees_every_result_and_is_closed_on_failure(bundle, clean):
    class Full(Kept):
        def write(self, result):
            super().write(result)
            if result.frame.seq == 2:
                raise TtaError("the disk is full")

    first, second, source = Kept(), Full(), Images(clean[:5])
    with pytest.raises(TtaError, match="the disk is full"):
        run(bundle, source, "none", [first, second])
    assert len(first.results) == len(second.results) == 3
    assert first.closed and second.closed and source.closed


def test_a_class_from_outside_may_be_source_adapter_and_sink(bundle, clean):
    sink = Kept()
    (stream,) = run(bundle, Images(clean[:3]), Method(lambda s: s), sink)
    assert len(sink.results) == 3 and stream.current.adapter == "method"


@pytest.mark.parametrize(
    ("arguments", "more", "kind", "message"),
    [
        (("tnet",), {}, NotFoundError, "no adapter named 'tnet'; known: tent"),
        (("tent", "stdot"), {}, NotFoundError, "no sink named 'stdot'; known: stdout"),
        (("tent", "jsonl:"), {}, TtaError, "needs a file"),
        (("tent", "null"), {"serve": "fast"}, TtaError, "'stream' or 'batch', but is 'fast'"),
        (("tent", "null"), {"batch": 0}, TtaError, "at least one frame"),
    ],
)
def test_bad_arguments_are_refused_before_the_first_frame(
    bundle, clean, arguments, more, kind, message
):
    source = Images(clean[:3])
    with pytest.raises(kind, match=message):
        run(bundle, source, *arguments, **more)
    assert source.asked == 0 and source.closed == source.opened


def test_a_missing_graph_is_refused_before_the_first_frame(bundle, clean):
    method = Method(lambda state: state)
    method.needs = frozenset({"step/eata"})
    source = Images(clean[:3])
    with pytest.raises(BundleError, match="export again with --objectives eata"):
        run(bundle, source, method)
    assert source.asked == 0


def test_unknown_sources_and_bundles(bundle):
    with pytest.raises(NotFoundError, match="no source serves nzp://; known: npz"):
        run(bundle, "nzp://x")
    with pytest.raises(BundleError, match="no bundle at nowhere"):
        run("nowhere", "synthetic://")


def test_a_uri_is_named_without_its_secrets(bundle, monkeypatch, clean):
    monkeypatch.setattr("tta.runtime.loop.open_source", lambda uri: Images(clean[:0]))
    with pytest.raises(SourceError, match=r"^http://\*\*\*@cam ended") as caught:
        run(bundle, "http://me:secret@cam")
    assert "secret" not in str(caught.value)


def test_drift_is_reported(bundle, clean, drifted):
    _, told = kept_run(bundle, np.concatenate([clean[:32], drifted[:32]]), "none")
    levels = [r.report.level for r in told]
    assert set(levels[B:32]) <= {"ok", "warn"} and levels[47:] == ["drift"] * 17
    assert told[-1].report.scores["statistics_kl"] > 10 * told[31].report.scores["statistics_kl"]
    assert set(told[-1].report.layers) == {
        name for name, kind in bundle.manifest.layers.items() if kind == "batch_norm"
    }


def test_windows_that_fill_give_no_result(bundle, clean, model, monkeypatch):
    stream = Stream(model)
    whole = stream.preprocess
    monkeypatch.setattr(stream, "preprocess", lambda frame: whole(frame) if frame.seq % 2 else None)
    told = [r for frame in frames(clean[:6]) for r in advance(stream, frame)]
    assert [r.frame.seq for r in told] == [1, 3, 5]
    assert stream.counts.frames == 6 and stream.counts.skipped == 0 and len(stream.waiting) == 3


def test_the_frame_itself_travels_to_the_sink(bundle, clean):
    sink = Kept()
    frame = Frame(clean[0], 1.5, 9, "cam", {"label": 3})

    class One(Images):
        def __iter__(self):
            yield frame

    run(bundle, One(clean), "none", sink)
    assert sink.results[0].frame is frame
