"""The watch on streams of the demo's model: quiet on the source, and what it makes of shifts."""

import dataclasses
import math
from importlib.resources import files

import numpy as np
import pytest

from tta.budget import Budget
from tta.bundle import Bundle
from tta.corruptions import corrupt
from tta.errors import NotFoundError, TtaError
from tta.export.drift_calibration import look_at
from tta.gauge import BLOCK, Gauge, at
from tta.monitor import Monitor
from tta.records import Frame, Prediction
from tta.runtime.preprocess import build
from tta.runtime.session import AdaptSession
from tta.watch import AlarmPolicy, Watch

BATCH = 16
POLICY = AlarmPolicy(Budget.parse("1/5000 frames"))


class Stream:
    """Frames of the demo with the frozen model's answers, shown to a monitor in any order."""

    def __init__(self, bundle):
        self.bundle, self.session = bundle, AdaptSession(bundle)
        self.calibration = bundle.calibration()
        self.preprocess = build(bundle.manifest.preprocess, bundle.manifest.input)

    def know(self, images):
        inputs = np.stack([self.preprocess(Frame(x, 0.0, k)) for k, x in enumerate(images)])
        frames = look_at(self.bundle, self.session, inputs)
        v = frames.view
        answers = [
            Prediction({"features": f}, p, float(e), 0.0, "")
            for f, p, e in zip(v.features, v.probabilities, v.entropy)
        ]
        return frames, answers, inputs

    def monitor(self, policy=POLICY, calibration=None, **options):
        known = self.calibration if calibration is None else calibration
        return Monitor(self.bundle.manifest, known, None, BATCH, policy, **options)


def show(monitor, known, order):
    """Shifts that a monitor reports on frames in that order."""
    frames, answers, inputs = known
    found = []
    for begin in range(0, len(order) - BATCH + 1, BATCH):
        chosen = order[begin : begin + BATCH]
        for k in chosen:
            monitor.observe(answers[k], inputs[k])
        monitor.observe_step(frames.batch(chosen))
        report = monitor.report()
        if report.shift is not None:
            found.append(report.shift)
    return found


@pytest.fixture(scope="module")
def stream():
    return Stream(Bundle(files("tta.demo") / "fashion.tta"))


@pytest.fixture(scope="module")
def images():
    with np.load(files("tta.demo") / "fashion_test.npz") as data:
        return data["images"][:1000]


@pytest.fixture(scope="module")
def clean(stream, images):
    return stream.know(images)


@pytest.fixture(scope="module")
def noisy(stream, images):
    return stream.know(corrupt(images[:400], "gaussian_noise", 5, 0))


def iid(rng, n=1000, length=4096):
    return rng.integers(0, n, length)


def test_source_frames_raise_no_alarm_and_the_warm_up_says_so(stream, clean, rng):
    monitor = stream.monitor()
    found = show(monitor, clean, iid(rng, length=8192))
    assert [s for s in found if s.verdict != "detected" and s.domain != 0] == []
    assert len(found) <= 4
    assert any("warm-up of 1024 frames" in note for note in monitor.watch.notes)
    assert monitor.watch.rho < 0.3 and monitor.report().level == "ok"


def test_held_frames_are_known_to_be_worth_less(stream, clean, rng):
    monitor = stream.monitor()
    new = rng.random(20_000) >= 0.95
    new[0] = True
    order = rng.integers(0, 1000, int(new.sum()))[np.cumsum(new) - 1]
    found = show(monitor, clean, order)
    assert 0.85 < monitor.watch.rho < 0.99 and len(found) <= 8


def test_a_shift_is_detected_judged_and_recalled(stream, clean, noisy, rng):
    monitor = stream.monitor()
    show(monitor, clean, iid(rng, length=2048))
    gone = show(monitor, noisy, iid(rng, 400, 1536))
    assert [s.verdict for s in gone][:2] == ["detected", "alarm"]
    detected, alarm = gone[:2]
    assert 2048 < detected.frame <= 2048 + 2 * BLOCK and 1900 <= detected.onset <= detected.frame
    assert max(detected.metrics.values()) > 1 and set(detected.layers) >= {"norm"}
    assert detected.rarity_frames > 5000
    low, middle, high = alarm.error
    assert low < middle < high and middle > 0.1 and alarm.domain == 1
    assert all(a <= alarm.signature[n] <= b for n, (a, b) in alarm.intervals.items())
    assert set(alarm.intervals) == set(alarm.signature) >= {"mahalanobis", "statistics_kl@16"}
    assert monitor.report().level == "drift"
    back = show(monitor, clean, iid(rng, length=2048))
    assert ("recall", 0) in [(s.verdict, s.domain) for s in back]
    assert monitor.report().level == "ok"
    again = [s for s in show(monitor, noisy, iid(rng, 400, 1536)) if s.verdict != "detected"]
    assert (again[0].verdict, again[0].domain) == ("recall", 1)
    assert monitor.report().level == "drift"


def test_a_shift_is_said_once(stream, clean, noisy, rng):
    monitor = stream.monitor()
    show(monitor, clean, iid(rng, length=1024))
    found = [s.verdict for s in show(monitor, noisy, iid(rng, 400, 2048))]
    assert found.count("alarm") == 1
    assert monitor.report().shift is None


def test_a_stream_that_begins_elsewhere_is_no_warm_up(stream, noisy, rng):
    monitor = stream.monitor()
    found = show(monitor, noisy, iid(rng, 400, 4096))
    assert "alarm" in [s.verdict for s in found]
    assert any("thresholds stay" in note for note in monitor.watch.notes)


def test_without_labels_at_export_news_is_an_alarm(stream, clean, noisy, rng):
    bare = {k: v for k, v in stream.calibration.items() if "estimated_error" not in k}
    monitor = stream.monitor(calibration=bare)
    show(monitor, clean, iid(rng, length=2048))
    judged = [s for s in show(monitor, noisy, iid(rng, 400, 1536)) if s.verdict != "detected"]
    assert judged[0].verdict == "alarm" and judged[0].error is None
    assert math.isnan(monitor.report().scores["estimated_error"])


def test_a_stricter_budget_has_higher_thresholds(stream):
    def thresholds(text, fps=None):
        policy = AlarmPolicy(Budget.parse(text), fps, warm_up=0)
        watch = stream.monitor(policy).watch
        return [g.threshold for g in watch.gauges.values()], watch.notes

    loose, _ = thresholds("1/1000 frames")
    strict, notes = thresholds("1/week", 10.0)
    assert all(a < b for a, b in zip(loose, strict))
    assert any("fewer than one alarm" in n for n in notes)
    same, _ = thresholds("1/6048000 frames", 10.0)
    assert strict == pytest.approx(same)


def test_a_longer_correlation_has_higher_thresholds(stream):
    def thresholds(seconds):
        policy = AlarmPolicy(Budget.parse("1/day"), 10.0, "cusum", seconds, 0)
        return sum(g.threshold for g in stream.monitor(policy).watch.gauges.values())

    assert thresholds(0.01) < thresholds(1.0) < thresholds(10.0)


def test_a_budget_in_time_without_frame_rate_is_refused(stream):
    with pytest.raises(TtaError, match="--fps"):
        stream.monitor(AlarmPolicy(Budget.parse("1/week")))


def test_an_unknown_detector_names_the_nearest(stream):
    with pytest.raises(NotFoundError, match="cusum"):
        stream.monitor(dataclasses.replace(POLICY, detector="cusom"))


class Last:
    """A detector as another library has it: no statistic, no threshold, no reset."""

    def __init__(self):
        self.drift_detected = False

    def update(self, x):
        self.drift_detected = abs(x) > 30


def test_a_detector_of_another_library_plugs_in_and_is_said_to_be_uncalibrated(
    stream, clean, noisy, rng
):
    monitor = stream.monitor(dataclasses.replace(POLICY, detector="tests.test_watch:Last"))
    assert not show(monitor, clean, iid(rng, length=2048))
    found = show(monitor, stream.know(noisy_hard(clean)), iid(rng, 200, 1536))
    assert found and math.isnan(found[0].rarity_frames)
    assert any("not calibrated" in note for note in monitor.watch.notes)


def noisy_hard(_):
    with np.load(files("tta.demo") / "fashion_test.npz") as data:
        return corrupt(data["images"][:200], "contrast", 5, 0)


def test_a_bundle_without_calibration_is_not_watched(stream, clean, rng):
    monitor = stream.monitor(calibration={})
    assert show(monitor, clean, iid(rng, length=512)) == [] and not monitor.watch.gauges
    assert Watch({}, ["entropy"]).gauges == {}


def test_reset_forgets_domains_and_warm_up(stream, clean, noisy, rng):
    monitor = stream.monitor()
    show(monitor, clean, iid(rng, length=1024))
    show(monitor, noisy, iid(rng, 400, 1536))
    monitor.reset()
    assert monitor.report().level == "ok" and len(monitor.watch.bank.domains) == 1
    assert math.isnan(monitor.report().scores["entropy"])


def test_interpolation_over_correlations():
    grid, values = np.array([0.0, 0.9, 0.99]), np.array([1.0, 2.0, 4.0])
    assert [at(grid, values, r) for r in (0.0, 0.9, 0.99)] == pytest.approx([1, 2, 4])
    assert 2 < at(grid, values, 0.95) < 4 and at(grid, values, 0.9999) == 4
    assert at(grid, values, None) == 4  # the row of ordered clips is the last


def test_a_gauge_says_since_when(stream):
    gauge = Gauge("entropy", stream.calibration, "cusum")
    gauge.set(1e-4, 0.0)
    location, scale = stream.calibration["drift.gauge.entropy"][0]
    for z in [0.0] * 30 + [1.5] * 12:
        gauge.feed(float(location + z * scale))
    assert gauge.since() == 12 and gauge.crossed and gauge.share > 1


def test_a_great_shift_is_judged_though_its_scores_jump(stream, clean, rng):
    """Far from the source, scores vary by many source deviations; that is no further shift."""
    monitor = stream.monitor()
    show(monitor, clean, iid(rng, length=2048))
    found = show(monitor, stream.know(noisy_hard(clean)), iid(rng, 200, 1024))
    assert [s.verdict for s in found][:2] == ["detected", "alarm"]


def test_a_shift_while_a_false_alarm_settles_is_detected_at_once(stream, clean, noisy, rng):
    monitor = stream.monitor()
    show(monitor, clean, iid(rng, length=2048))
    monitor.watch.gauges["entropy"].crossed = True  # a false alarm
    before = show(monitor, clean, iid(rng, length=5 * BLOCK))
    assert [s.verdict for s in before] == ["detected"]
    found = show(monitor, noisy, iid(rng, 400, 1536))
    assert [s.verdict for s in found][:2] == ["detected", "alarm"]
    assert found[0].frame <= 2048 + 5 * BLOCK + 2 * BLOCK
