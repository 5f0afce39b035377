"""Calibration of drift detection at export: streams, references, and what a bundle then knows."""

import dataclasses
from importlib.resources import files

import numpy as np
import pytest

from tests.models.fashion import DRIFT, MEAN, STD
from tests.test_governor import manifest
from tta.bundle import Bundle
from tta.errors import ExportError
from tta.export.command import calibration_notes
from tta.export.drift_calibration import (
    GRID,
    DriftOptions,
    calibrate_drift,
    clip_correlation,
    look_at,
    stream,
    trace,
)
from tta.export.kind_calibration import preprocessed, raw_images
from tta.monitor import Monitor
from tta.runtime.session import AdaptSession
from tta.tails import fit
from tta.watch import AlarmPolicy


@pytest.fixture(scope="module")
def bundle():
    return Bundle(files("tta.demo") / "fashion.tta")


@pytest.fixture(scope="module")
def session(bundle):
    return AdaptSession(bundle)


@pytest.fixture(scope="module")
def data():
    with np.load(DRIFT) as stored:
        images, labels = stored["images"][:288], stored["labels"][:288]
    return images, ((images.astype(np.float32) / 255 - MEAN) / STD)[:, None], labels


@pytest.fixture(scope="module")
def known(bundle, session, data):
    """A small calibration; few blocks, so that it takes a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tta.export.drift_calibration.MOST_BLOCKS", 1024)
        source = {k: v for k, v in bundle.calibration().items() if not k.startswith("drift.")}
        found = calibrate_drift(
            bundle, session, data[1], source, data[2], DriftOptions("2/hour", 5.0)
        )
        return {**source, **found}


@pytest.mark.parametrize("rho", (0.0, 0.9))
def test_a_held_stream_has_that_autocorrelation_and_the_frames_as_they_are(rho, rng):
    values = rng.standard_normal(500)
    series = values[stream(500, 100_000, rho, (), rng)]
    series = series - series.mean()
    for lag in (1, 5):
        found = (series[lag:] * series[:-lag]).mean() / series.var()
        assert found == pytest.approx(rho**lag, abs=0.05)


def test_a_clip_stream_is_made_of_pieces_in_order(rng):
    order = stream(1000, 20_000, 0.0, (600, 400), rng)
    steps = np.diff(order)
    assert (steps == 1).mean() > 0.99 and order.min() >= 0 and order.max() < 1000
    assert not ((order[:-1] == 599) & (order[1:] == 600)).any()  # not across clips


def test_batches_have_the_statistics_that_the_graph_gives(bundle, session, data):
    frames = look_at(bundle, session, data[1][:24])
    chosen = np.arange(3, 19)
    ours = frames.batch(chosen)
    theirs = session.run("batch", data[1][chosen], bundle.source_slots, alpha=0.0)
    for layer, (mean, var, n) in theirs.moments.items():
        np.testing.assert_allclose(ours.moments[layer].mean, mean, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(ours.moments[layer].var, var, rtol=1e-3, atol=1e-4)
        assert ours.moments[layer].n == n


def test_a_bundle_knows_gauges_and_tails_of_every_score(known):
    gauges = {k.removeprefix("drift.gauge.") for k in known if k.startswith("drift.gauge.")}
    assert gauges >= {"entropy", "confidence", "mahalanobis", "mmd", "coverage", "class_histogram"}
    assert gauges >= {"estimated_error", "statistics_kl@16", "statistics_kl@8"}
    for name in gauges:
        assert known[f"drift.gauge.{name}"].shape == (len(GRID), 2)
        for detector in ("cusum", "page_hinkley"):
            tail = known[f"drift.tail.{detector}.{name}"]
            assert tail.shape == (len(GRID), 3) and np.isfinite(tail).all()
            assert (tail[:, 1:] > 0).all()
    assert 1 / float(known["drift.budget"][0]) == pytest.approx(1800 * 5)


def test_what_is_kept_is_small(known):
    assert sum(v.nbytes for k, v in known.items() if k.startswith("drift.")) < 100_000


def test_a_monitor_runs_on_it(bundle, session, known, data):
    monitor = Monitor(bundle.manifest, known, None, 16, AlarmPolicy(warm_up=0))
    assert len(monitor.watch.gauges) == 8
    assert all(0 < g.threshold < 1e3 for g in monitor.watch.gauges.values())


def test_few_samples_give_references_only(bundle, session, data):
    found = calibrate_drift(bundle, session, data[1][:40], {}, None)
    assert "drift.rho" not in found and "drift.mahalanobis.mean" in found
    assert "drift.estimated_error.error" not in found


def test_notes_say_what_was_assumed_and_what_is_missing(known):
    class Fake:
        def __init__(self, stored, task="classify"):
            self.stored, self.manifest = stored, dataclasses.replace(manifest(), task=task)

        def calibration(self):
            return self.stored

    text = " ".join(calibration_notes(Fake(known)))
    assert "assumed from a correlation time of 1 s" in text and "worth" in text
    assert "fewer frames than the budget needs" in text
    bare = {k: v for k, v in known.items() if "estimated_error" not in k}
    assert "no labels" in " ".join(calibration_notes(Fake(bare)))
    assert "at least 256" in " ".join(calibration_notes(Fake({})))
    told = " ".join(calibration_notes(Fake(bare, "segment")))
    assert "no labels" not in told and "estimated of classifiers only" in told


@pytest.mark.parametrize("detector", ("cusum", "page_hinkley", "adwin", "kswin"))
def test_every_detector_leaves_a_trace_that_a_tail_fits(detector, rng):
    statistic = trace(detector, rng.standard_normal((2, 400)))
    tail = fit(statistic.ravel())
    assert np.isfinite(statistic).all() and tail.threshold(1e-4) > np.median(statistic)


def test_what_does_not_fit_is_refused(bundle, session, data):
    with pytest.raises(ExportError, match="3 targets for 8 samples"):
        calibrate_drift(bundle, session, data[1][:8], {}, data[2][:3])
    with pytest.raises(ExportError, match="clips of 5 frames"):
        calibrate_drift(bundle, session, data[1][:8], {}, None, DriftOptions(clips=(5,)))
    with pytest.raises(ExportError, match="cannot be calibrated"):
        trace("builtins:dict", np.zeros((1, 4)))


def test_ordered_clips_are_measured(bundle, session, data):
    """Each picture shown twenty times in a row."""
    frames = look_at(bundle, session, data[1][:200])
    order = np.repeat(np.arange(200), 20)
    view = frames.look(order)
    assert 0.8 < clip_correlation(view, (2000, 2000)) < 0.99
    assert clip_correlation(frames.look(np.tile(np.arange(200), 10)), (2000,)) < 0.5


def test_the_preprocessing_can_be_undone(bundle, data):
    images = raw_images(bundle, data[1])
    np.testing.assert_array_equal(images, data[0])
    np.testing.assert_allclose(preprocessed(bundle, images), data[1], atol=1e-5)
    with pytest.raises(ExportError, match="8-bit images"):
        raw_images(bundle, data[1] * 3)
