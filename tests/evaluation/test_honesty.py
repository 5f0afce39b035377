"""Audit, paired tests and calibration against closed forms, simulation and cleanlab."""

import math

import numpy as np
import pytest

from tta.errors import TtaError
from tta.evaluation.label_audit import audit_labels, flips_at, gains
from tta.evaluation.paired import difference, holm, mcnemar
from tta.evaluation.reliability import broken, calibration_error, error_by_class, reliability


def noisy(n=3000, classes=6, noise=0.1, seed=0):
    """Probabilities of a decent model, true labels, and labels of which a share is wrong."""
    rng = np.random.default_rng(seed)
    true = rng.integers(classes, size=n)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), true] += 3
    p = np.exp(logits)
    p /= p.sum(1, keepdims=True)
    given = np.where(rng.random(n) < noise, (true + rng.integers(1, classes, n)) % classes, true)
    return p, true, given


def test_the_audit_is_cleanlabs():
    filters = pytest.importorskip("cleanlab.filter", reason="cleanlab is not installed")
    count = pytest.importorskip("cleanlab.count")
    util = pytest.importorskip("cleanlab.internal.util")
    for seed in range(3):
        p, _, given = noisy(seed=seed)
        found = audit_labels(p, given)
        confident = count.compute_confident_joint(given, p, calibrate=False)
        assert np.array_equal(found.confident, confident)
        joint = count.estimate_joint(given, p, confident_joint=confident)
        rounded = util.round_preserving_row_totals(found.joint * len(p)) / len(p)
        assert np.allclose(rounded, joint, atol=1e-12)  # it rounds to whole images, eq. 3 does not
        theirs = filters.find_label_issues(
            given,
            p,
            filter_by="confident_learning",
            return_indices_ranked_by="normalized_margin",
        )
        assert len(theirs) > 100 and found.suspects.tolist() == theirs.tolist()


def test_the_audit_finds_flipped_labels():
    p, true, given = noisy(noise=0.1)
    found = audit_labels(p, given)
    wrong = given != true
    flagged = ~found.kept
    assert abs(found.noise - wrong.mean()) < 0.05
    assert (flagged & wrong).sum() / wrong.sum() > 0.6  # recall
    assert (flagged & wrong).sum() / flagged.sum() > 0.6  # precision
    assert found.margin[found.suspects[0]] == found.margin[found.suspects].min()


def test_a_class_without_images_and_perfect_labels():
    p = np.eye(3)[[0, 0, 2, 2]]
    found = audit_labels(p, np.array([0, 0, 2, 2]))
    assert not len(found.suspects) and found.noise == 0 and found.kept.all()
    assert found.joint[1].sum() == 0


@pytest.mark.parametrize(
    ("p", "labels", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "at least two classes"),
        (np.ones((4, 1)), np.zeros(4, int), "at least two classes"),
        (np.full((2, 2), np.nan), np.zeros(2, int), "NaN"),
        (np.full((2, 2), 0.9), np.zeros(2, int), "sum of 1"),
        (np.full((2, 2), 0.5), np.array([0, 2]), "0 to 1"),
    ],
)
def test_what_cannot_be_audited(p, labels, message):
    with pytest.raises(TtaError, match=message):
        audit_labels(p, labels)


def test_where_a_ranking_flips():
    clean, corrected = (0.9, 0.8), (0.3, 0.6)
    p = flips_at(clean, corrected)
    for share, better in ((p - 0.05, 0), (p + 0.05, 1)):
        accuracy = [(1 - share) * c + share * k for c, k in zip(clean, corrected)]
        assert int(np.argmax(accuracy)) == better
    assert flips_at(clean[::-1], corrected[::-1]) == p
    assert flips_at((0.9, 0.8), (0.6, 0.3)) is None
    assert flips_at((0.5, 0.5), (0.5, 0.5)) is None


def test_gain_on_all_and_on_kept_labels():
    labels = np.array([0, 1, 0, 1])
    kept = np.array([True, True, False, False])
    frozen, adapted = np.array([0, 0, 0, 1]), np.array([0, 1, 1, 0])
    assert gains(frozen, adapted, labels, kept) == (-25.0, 50.0)
    with pytest.raises(TtaError, match="no label is kept"):
        gains(frozen, adapted, labels, ~np.ones(4, bool))


@pytest.mark.parametrize(("b", "c"), [(8, 2), (0, 5), (30, 12), (7, 7), (400, 340)])
def test_mcnemar_is_the_binomial_test(b, c):
    first = np.array([True] * b + [False] * c + [True] * 3)
    second = np.array([False] * b + [True] * c + [True] * 3)
    n = b + c
    weights = [math.comb(n, k) for k in range(n + 1)]
    seen = weights[b]
    exact = sum(w for w in weights if w <= seen) / 2**n
    found = mcnemar(first, second)
    assert (found.broken, found.repaired) == (b, c)
    assert found.exact == pytest.approx(exact, rel=1e-9)
    assert found.mid == pytest.approx(
        min(1, exact - seen / 2**n) if b != c else found.mid, rel=1e-9
    )
    assert found.mid <= found.exact


def test_holm_keeps_its_level():
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(2000):
        wrong += min(holm(rng.random(8))) < 0.05
    assert 0.03 < wrong / 2000 < 0.07
    assert holm([]) == [] and holm([1.0, 0.9]) == [1.0, 1.0]
    with pytest.raises(TtaError, match="0 to 1"):
        holm([2.0])


def test_the_interval_knows_clips():
    """Thirty clips of forty like frames: by clip the interval holds the truth, by frame it is too narrow."""
    rng, held, narrow = np.random.default_rng(1), 0, 0
    clips = np.repeat(np.arange(30), 40)
    for _ in range(120):
        frozen = np.repeat(rng.random(30) < 0.5, 40)
        adapted = np.where(
            np.repeat(rng.random(30) < 0.4, 40), True, frozen
        )  # repairs 40 % of clips
        one, two = (difference(frozen, adapted, c, 300) for c in (clips, None))
        held += one.low <= 20 <= one.high
        narrow += two.low <= 20 <= two.high
        assert one.harm == pytest.approx(-one.low, abs=12) and one.clips == 30 and two.clips == 1200
    assert held / 120 > 0.88 and narrow / 120 < 0.5


def test_bad_pairs():
    with pytest.raises(TtaError, match="two equally long"):
        mcnemar(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(TtaError, match="two equally long"):
        difference(np.zeros(0, bool), np.zeros(0, bool))
    with pytest.raises(TtaError, match="clip numbers"):
        difference(np.ones(3, bool), np.ones(3, bool), np.zeros(2))


def test_calibration_error():
    rng = np.random.default_rng(0)
    c = rng.uniform(0.1, 1, 40_000)
    assert calibration_error(c, rng.random(40_000) < c) < 0.02
    assert calibration_error(np.full(10, 1.0), np.zeros(10, bool)) == 1.0
    table = reliability(np.array([0.05, 0.95, 1.0]), np.array([False, True, True]))
    assert [b.images for b in table] == [1, 2] and table[1].accuracy == 1
    with pytest.raises(TtaError, match="at least one"):
        calibration_error(np.zeros(0), np.zeros(0, bool))
    with pytest.raises(TtaError, match="0 to 1"):
        calibration_error(np.array([np.nan]), np.ones(1, bool))


def test_errors_by_class_and_broken_images():
    labels, frozen = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0])
    adapted, sure = np.array([1, 0, 0, 0]), np.array([0.6, 0.7, 0.9, 0.5])
    by_class = error_by_class(frozen, labels, 3)
    assert by_class[:2].tolist() == [50, 50] and math.isnan(by_class[2])
    lost, won = broken(np.array([7, 8, 9, 10]), labels, frozen, adapted, sure)
    assert [c.item for c in lost] == [9, 7] and [c.item for c in won] == [8]
    assert lost[0].adapted == 0 and lost[0].confidence == 0.9
