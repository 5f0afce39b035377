"""What each frame metric measures, against closed forms and independent computations."""

import math

import numpy as np
import pytest

from tests.test_governor import manifest
from tta.bayesian_bootstrap import interval, resampled
from tta.drift.class_histogram import ClassHistogram, jensen_shannon
from tta.drift.coverage import Coverage
from tta.drift.estimated_error import EstimatedError
from tta.drift.mahalanobis import Mahalanobis
from tta.drift.mmd import Mmd, waves
from tta.drift.parameter_distance import ParameterDistance
from tta.drift.surprise import Surprise
from tta.heads.student_t import StudentT
from tta.moments import LayerDistance, distance
from tta.records import Moments, View


def view(features=None, logits=None, inputs=None, output=None):
    n = len(next(v for v in (features, logits, inputs) if v is not None))
    features = np.zeros((n, 1)) if features is None else features
    probabilities = np.zeros((n, 0))
    if logits is not None:
        e = np.exp(logits - logits.max(1, keepdims=True))
        probabilities = e / e.sum(1, keepdims=True)
    return View(
        np.asarray(features, np.float32),
        probabilities,
        np.zeros((n, 0)) if output is None else output,
        -(probabilities * np.log(probabilities + 1e-30)).sum(1),
        probabilities.max(1) if probabilities.size else np.full(n, np.nan),
        np.zeros((0,)) if inputs is None else np.asarray(inputs, np.float32),
    )


def fitted(metric, source, targets=None, task="classify", **options):
    stored = metric.reference(source, targets)
    name = metric.__module__.rpartition(".")[2]
    made = manifest()
    if task != "classify":
        import dataclasses

        made = dataclasses.replace(made, task=task)
    return metric(made, {f"drift.{name}.{k}": v for k, v in stored.items()}, **options)


def test_mahalanobis_is_the_textbook_distance(rng):
    mixing = rng.standard_normal((6, 6))
    source = rng.standard_normal((4000, 6)) @ mixing + 3
    metric = fitted(Mahalanobis, view(source), weight=1.0)  # the newest block alone
    block = source[:50] + rng.standard_normal(6)
    metric.observe(view(block))
    d = block.mean(0) - source.mean(0)
    values, vectors = np.linalg.eigh(np.cov(source.T, bias=True))
    covariance = vectors @ np.diag(values + 0.01 * values.mean()) @ vectors.T
    assert metric.score() == pytest.approx(math.sqrt(d @ np.linalg.solve(covariance, d)), rel=1e-3)


def test_mahalanobis_beyond_its_rank_counts_the_rest_as_one_variance(rng):
    scale = np.where(np.arange(40) < 32, 5.0, 0.1)
    source = rng.standard_normal((5000, 40)) * scale
    metric = fitted(Mahalanobis, view(source), weight=1.0)
    block = np.tile(source.mean(0), (8, 1))
    block[:, 39] += 2.0  # in a direction that is not kept
    metric.observe(view(block))
    values = np.linalg.eigvalsh(np.cov(source.T, bias=True))
    assert metric.score() == pytest.approx(
        2 / math.sqrt(values[:8].mean() + 0.01 * values.mean()), rel=0.02
    )


def test_random_waves_have_the_gaussian_kernel_as_expectation(rng):
    x, y, width = rng.standard_normal(5), rng.standard_normal(5), 1.7
    frequencies = (rng.standard_normal((5, 200_000)) / width).astype(np.float32)
    phases = rng.uniform(0, 2 * math.pi, 200_000).astype(np.float32)
    z = waves(np.stack([x, y]).astype(np.float32), frequencies, phases)
    kernel = math.exp(-((x - y) ** 2).sum() / (2 * width**2))
    assert float(z[0].astype(np.float64) @ z[1]) == pytest.approx(kernel, abs=0.01)


def test_mmd_grows_with_a_shift_and_is_small_without(rng):
    source = rng.standard_normal((3000, 8))
    metric = fitted(Mmd, view(source), weight=1.0)
    scores = []
    for shift in (0.0, 0.5, 1.0, 2.0):
        metric.observe(view(rng.standard_normal((2000, 8)) + shift))
        scores.append(metric.score())
    assert scores == sorted(scores) and scores[0] < 0.06


def test_mmd_of_two_gaussians(rng):
    """E k over N(0,I), N(δ,I): h^d (h²+2)^(-d/2) exp(-‖δ‖²/(2(h²+2)))."""
    d, delta = 3, 1.0
    source = rng.standard_normal((4000, d))
    stored = Mmd.reference(view(source), None)
    width = math.sqrt(2 * d * 0.79)  # median of the squared distance 2·χ²_3 is about 2·2.37
    within = (1 + 2 / width**2) ** (-d / 2)
    between = within * math.exp(-d * delta**2 / (2 * (width**2 + 2)))
    expected = math.sqrt(2 * within - 2 * between)
    metric = Mmd(manifest(), {f"drift.mmd.{k}": v for k, v in stored.items()}, weight=1.0)
    metric.observe(view(rng.standard_normal((8000, d)) + delta))
    assert metric.score() == pytest.approx(expected, rel=0.3)


def test_jensen_shannon_in_closed_form():
    assert jensen_shannon(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == pytest.approx(0, abs=1e-6)
    p, q = np.array([0.8, 0.2]), np.array([0.3, 0.7])
    m = (p + q) / 2
    expected = 0.5 * (p * np.log2(p / m)).sum() + 0.5 * (q * np.log2(q / m)).sum()
    assert jensen_shannon(p, q) == pytest.approx(math.sqrt(expected), rel=1e-9)


def test_class_histogram_is_that_distance_of_the_moving_average(rng):
    source = view(logits=rng.standard_normal((900, 3)))
    metric = fitted(ClassHistogram, source, weight=0.1)
    block = view(logits=np.tile([5.0, 0, 0], (10, 1)))
    metric.observe(block)
    p = np.bincount(source.probabilities.argmax(1), minlength=3) / 900
    share = 1 - 0.9**10
    assert metric.score() == pytest.approx(
        jensen_shannon((1 - share) * p + share * np.eye(3)[0], p), rel=1e-5
    )


def test_estimated_error_is_right_on_the_source_by_construction(rng):
    source = view(logits=3 * rng.standard_normal((2000, 4)))
    targets = np.where(rng.random(2000) < 0.2, 3, source.probabilities.argmax(1))
    error = (source.probabilities.argmax(1) != targets).mean()
    metric = fitted(EstimatedError, source, targets, weight=1.0)
    metric.observe(source)
    assert metric.score() == pytest.approx(error, abs=1.5 / 2000)  # t is kept as float32
    assert metric.source_error == pytest.approx(error)


def test_estimated_error_of_a_calibrated_model_follows_its_confidence(rng):
    """Labels drawn from its own probabilities: under flatter ones, nearer than the source error."""

    def drawn(scale, n=6000):
        v = view(logits=scale * rng.standard_normal((n, 4)))
        labels = (v.probabilities.cumsum(1) > rng.random((n, 1))).argmax(1)
        return v, labels

    source, targets = drawn(4.0)
    metric = fitted(EstimatedError, source, targets, weight=1.0)
    flat, labels = drawn(2.0)
    metric.observe(flat)
    true = (flat.probabilities.argmax(1) != labels).mean()
    base = metric.source_error
    assert base + 0.08 < true  # it is a shift
    assert abs(metric.score() - true) < 0.75 * (true - base)


def test_without_labels_there_is_no_estimate(rng):
    assert EstimatedError.reference(view(logits=rng.standard_normal((50, 3))), None) == {}


def test_coverage_is_what_the_kept_eigenvalues_leave(rng):
    """On white noise every direction holds the same: the share outside 4 of 9 is 5/9."""
    source = rng.standard_normal((64, 1, 28, 28))
    metric = fitted(Coverage, view(inputs=source), weight=1.0)
    scores = []
    for _ in range(40):
        metric.observe(view(inputs=rng.standard_normal((8, 1, 28, 28))))
        scores.append(metric.score())
    assert np.mean(scores) == pytest.approx(5 / 9, abs=0.02)


def test_coverage_sees_noise_and_blur_but_not_contrast(rng):
    def smooth(n):
        x = rng.standard_normal((n, 1, 30, 30))
        return sum(x[:, :, i : i + 28, j : j + 28] for i in range(3) for j in range(3))

    metric = fitted(Coverage, view(inputs=smooth(64)))

    def score(images):
        metric.reset()
        for k in range(0, len(images), 8):
            metric.observe(view(inputs=images[k : k + 8]))
        return metric.score()

    clean = smooth(256)
    base = score(clean)
    assert score(clean + 2 * rng.standard_normal(clean.shape)) > 1.3 * base
    assert score(0.5 * clean + 0.3) == pytest.approx(base, rel=1e-3)
    blurred = (clean[..., :-1] + clean[..., 1:]) / 2
    assert score(np.concatenate([blurred, blurred[..., :1]], 3)) < 0.9 * base


def test_parameter_distance_is_relative_and_by_layer():
    import dataclasses

    from tta.records import Slot

    slots = (Slot("a.scale", "scale", "a", (2,)), Slot("b.bias", "bias", "b", (1,)))
    metric = ParameterDistance(dataclasses.replace(manifest(), slots=slots), {})
    source = {"a.scale": np.array([3.0, 4.0]), "b.bias": np.array([0.0])}
    metric.observe_state(source, source)
    assert metric.score() == 0 and not metric.by_layer
    metric.observe_state({**source, "a.scale": np.array([3.0, 4.5])}, source)
    assert metric.score() == pytest.approx(0.1) and metric.by_layer == {"a": pytest.approx(0.1)}


def test_layer_distance_is_the_plain_distance(rng):
    sizes = {"one": 3, "two": 7, "unknown": 2}
    moments = {
        k: Moments(rng.standard_normal(c).astype("f"), rng.random(c).astype("f"), 9.0)
        for k, c in sizes.items()
    }
    known = {f"mean.{k}": rng.standard_normal(sizes[k]) for k in ("one", "two")}
    known |= {f"var.{k}": rng.random(sizes[k]) for k in ("one", "two")}
    repeated = LayerDistance(known)
    for _ in range(2):  # its buffers are used again
        assert repeated(moments) == pytest.approx(distance(moments, known), rel=1e-9)
    assert LayerDistance({})(moments) == {}


def process(features, y, new, noise=0.1, a=1.0, b=1.0):
    """The same head as a Student-t process with kernel ΦΦᵀ + εI: df, mean, scale."""
    kernel = features @ features.T + noise * np.eye(len(features))
    cross = new @ features.T
    solve = np.linalg.solve(kernel, y)
    mean = cross @ solve
    left = (new * new).sum(1) + noise - (cross * np.linalg.solve(kernel, cross.T).T).sum(1)
    scale2 = (2 * b + y @ solve) / (2 * a + len(y)) * left
    return 2 * a + len(y), mean, np.sqrt(scale2)


def test_the_two_views_of_the_student_t_head_agree(rng):
    features, y, new = (
        rng.standard_normal((40, 6)),
        rng.standard_normal(40),
        rng.standard_normal((9, 6)),
    )
    df, mean, scale = process(features, y, new)
    head = StudentT.prior(6).with_samples(features, y)
    found = head.predict(new)
    assert found[0] == df
    np.testing.assert_allclose(found[1][:, 0], mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[2][:, 0], scale, rtol=0, atol=1e-12)


def test_streaming_samples_one_by_one_gives_the_same_head(rng):
    features, y = rng.standard_normal((30, 4)), rng.standard_normal((30, 2))
    whole = StudentT.prior(4, 2).with_samples(features, y)
    head = StudentT.prior(4, 2)
    for x, t in zip(features, y):
        head = head.with_samples(x[None], t[None])
    np.testing.assert_allclose(head.precision_inverse, whole.precision_inverse, atol=1e-12)
    np.testing.assert_allclose(head.scale_rate, whole.scale_rate, rtol=1e-10)


def test_surprise_is_the_density_of_t():
    """Against the density of t with 3 degrees of freedom: 2/(π√3(1 + z²/3)²)."""
    from tta.heads.student_t import negative_log_t

    z, s = np.array([0.0, 1.0, -2.5]), 0.7
    density = 2 / (math.pi * math.sqrt(3) * (1 + z**2 / 3) ** 2) / s
    np.testing.assert_allclose(negative_log_t(z, 3.0, np.full(3, s)), -np.log(density), rtol=1e-12)


def test_surprise_rises_where_answers_leave_the_features(rng):
    features = rng.standard_normal((800, 5))
    weights = rng.standard_normal((5, 1))
    source = view(features, output=features @ weights)
    metric = fitted(Surprise, source, (features @ weights)[:, 0], task="regress")
    metric.observe(source)
    calm = metric.score()
    metric.reset()
    metric.observe(view(features, output=features @ weights * 3))
    gain = metric.score()
    metric.reset()
    far = features * 6
    metric.observe(view(far, output=far @ weights))
    assert gain > calm + 1 and metric.score() > calm


def test_bayesian_bootstrap_has_the_variance_of_rubin(rng):
    values = rng.standard_normal(24)
    means = resampled(values, draws=200_000)
    assert means.mean() == pytest.approx(values.mean(), abs=0.002)
    assert means.var() == pytest.approx(values.var() / 25, rel=0.02)


def test_its_interval_covers_about_as_often_as_it_says(rng):
    covered = 0
    for _ in range(300):
        low, high = interval(rng.standard_exponential(40), 0.9, seed=int(rng.integers(1e9)))
        covered += low <= 1.0 <= high
    assert 0.82 <= covered / 300 <= 0.95
    assert all(math.isnan(x) for x in interval(np.zeros(0)))
