"""Frozen and adapted over one stream: the same frames, the same answers as either alone."""

import dataclasses
from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pytest

from tests.models.sensor_cnn import factory
from tta.bundle import Bundle
from tta.errors import SourceError, TtaError
from tta.evaluation.side_by_side import WindowLabels, side_by_side
from tta.export import to_bundle
from tta.records import Frame
from tta.runtime.preprocess import build
from tta.runtime.session import InferSession
from tta.runtime.source_uri import open_source

URI = "sim://fashion?corruption=contrast,fog&severity=2&frames=300&seed=1"


@pytest.fixture(scope="module")
def bundle():
    return Bundle(files("tta.demo") / "fashion.tta")


@pytest.fixture(scope="module")
def made(bundle):
    return side_by_side(bundle, open_source(URI), "bn_stats")


def alone(bundle, frames):
    """The source model's answers by the plainest way."""
    preprocess = build(bundle.manifest.preprocess, bundle.manifest.input)
    inputs = np.stack([preprocess(frame) for frame in frames])
    return InferSession(bundle).run(inputs)["logits"].argmax(1)


class Bare:
    """Frames of a source, each made bare by a function."""

    live = False

    def __init__(self, source, change):
        self.source, self.change = source, change

    def __enter__(self):
        self.source.__enter__()
        return self

    def __exit__(self, *error):
        return self.source.__exit__(*error)

    def __iter__(self):
        return map(self.change, self.source)


def without(frame, *keys, **more):
    meta = {k: v for k, v in frame.meta.items() if k not in keys}
    return Frame(frame.data, frame.t_s, frame.seq, frame.source, {**meta, **more})


def test_every_frame_is_answered_by_both(bundle, made):
    with open_source(URI) as source:
        frames, changes = list(source), source.changes
        clean = [source.clean(f) for f in frames]
    assert [r.seq for r in made.rows] == list(range(300))
    assert [r.label for r in made.rows] == [f.meta["label"] for f in frames]
    assert [r.frozen for r in made.rows] == alone(bundle, frames).tolist()
    assert [s.start for s in made.segments[1:]] == changes
    assert [s.title for s in made.segments] == ["clean", "contrast 2", "fog 2"]
    assert sum(r.frozen != r.adapted for r in made.rows) > 20
    segment = made.segments[1]
    shown = next(k for k in range(100, 200) if np.array_equal(frames[k].data, segment.after))
    assert np.array_equal(segment.before, clean[shown])
    assert not np.array_equal(segment.before, segment.after)


def test_layers_and_decisions_come_with_batches(made):
    with_batch = [r for r in made.rows if r.action]
    assert len(with_batch) >= 300 // 16 and all(r.layers for r in with_batch)
    assert not any(r.layers for r in made.rows if not r.action)
    assert set(made.rows[-1].scores) >= {"entropy", "statistics_kl"}
    assert set(made.layers) >= set(with_batch[0].layers)
    assert made.thresholds["statistics_kl"] > 0 and made.counts["frames"] == 300


def test_none_changes_nothing(bundle):
    made = side_by_side(bundle, open_source(URI), "none", limit=64)
    assert len(made.rows) == 64
    assert all(
        r.frozen == r.adapted and r.frozen_confidence == r.adapted_confidence for r in made.rows
    )


def test_without_labels_the_clean_answer_is_the_measure(bundle):
    with open_source(URI) as source:
        clean = [source.clean(k) for k in range(300)]
        expected = alone(bundle, [Frame(x, 0.0, 0) for x in clean]).tolist()
        bare = Bare(source, lambda f: without(f, "label", clean=clean[f.seq]))
        made = side_by_side(bundle, bare, "bn_stats")
    assert made.measure == "disagreement"
    assert [r.clean for r in made.rows] == expected
    unshifted = made.rows[:100]
    assert all(r.frozen == r.clean for r in unshifted)


def test_without_labels_and_clean_frames_there_is_doubt_alone(bundle):
    bare = Bare(open_source(URI), lambda f: Frame(f.data, f.t_s, f.seq))
    made = side_by_side(bundle, bare, "bn_stats", limit=40)
    assert made.measure == "doubt" and len(made.segments) == 1


def test_frames_that_cannot_be_used_are_counted(bundle):
    def five_channels(frame):
        return Frame(np.zeros((28, 28, 5), np.uint8), 0.0, frame.seq)

    bad = Bare(open_source(URI), lambda f: f if f.seq % 10 else five_channels(f))
    made = side_by_side(bundle, bad, "none", limit=50)
    assert made.counts["skipped"] == 5 and len(made.rows) == 45
    none = Bare(open_source(URI), five_channels)
    with pytest.raises(SourceError, match=r"without one frame .* 5 channels"):
        side_by_side(bundle, none, "none", limit=20)


class Samples:
    """Single samples of a sensor, of class 0, then 1."""

    live = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def __iter__(self):
        rng = np.random.default_rng(0)
        for k in range(600):
            yield Frame(
                rng.standard_normal(6).astype(np.float32), k / 50, k, meta={"label": int(k >= 320)}
            )


def test_windows_of_single_samples(tmp_path):
    net, example = factory()
    spec = {"kind": "window", "channels": 6, "length": 100, "hop": 20}
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((64, 6, 100)).astype(np.float32)
    made = to_bundle(
        net, example, tmp_path / "w.tta", preprocess=spec, samples=samples, objectives=()
    )
    found = side_by_side(made.bundle, Samples(), "bn_stats", batch=8)
    assert [r.seq for r in found.rows] == list(range(99, 600, 20))
    assert [r.label for r in found.rows] == [0] * 12 + [None] * 4 + [1] * 10
    assert found.segments[0].after.shape == (6, 100)


def test_a_window_that_spans_two_classes_has_no_label():
    label_of = WindowLabels(SimpleNamespace(preprocess={"kind": "window", "length": 3}))
    classes = [0, 0, 0, 1, 1, 1, 1]
    labels = [
        label_of(Frame(np.zeros(2), 0.0, k, meta={"label": c})) for k, c in enumerate(classes)
    ]
    assert labels == [0, 0, 0, None, None, 1, 1]
    assert label_of(Frame(np.zeros((2, 2)), 0.0, 9, meta={"label": 5})) == 5


def test_only_classifiers_are_compared(bundle):
    other, manifest = object.__new__(Bundle), dataclasses.replace(bundle.manifest, task="regress")
    other.__dict__.update({**bundle.__dict__, "manifest": manifest})
    with pytest.raises(TtaError, match="the task of FashionNet is regress"):
        side_by_side(other, open_source(URI), "none")
