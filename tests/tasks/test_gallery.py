"""Galleries: what cross-retrieval says of a changed embedder, and what a rotation mends."""

import numpy as np
import pytest

from tta.errors import TtaError
from tta.gallery import cross_retrieval, procrustes, recall


def vectors(rng, n=200, classes=5, d=16, noise=0.3):
    labels = rng.integers(0, classes, n)
    return rng.normal(size=(classes, d))[labels] + noise * rng.normal(size=(n, d)), labels


def turned(rng, d):
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def test_an_unchanged_embedder_keeps_its_gallery(rng):
    x, labels = vectors(rng)
    found = cross_retrieval(x, x + 0.01 * rng.normal(size=x.shape), labels)
    assert found.verdict.startswith("valid") and found.old_old > 0.95


def test_a_rotation_breaks_it_and_is_mended(rng):
    x, labels = vectors(rng)
    turn = turned(rng, 16)
    found = cross_retrieval(x, x @ turn, labels)
    assert found.new_old < 0.6 and found.repaired == found.old_old
    assert found.verdict.startswith("repair")
    assert np.allclose(found.rotation, turn.T, atol=1e-8)


def test_a_space_that_no_rotation_leads_to_needs_a_new_gallery(rng):
    x, labels = vectors(rng, classes=9)
    angle = 2 * np.pi * labels / 9
    circle = np.stack([np.cos(angle), np.sin(angle)], 1) + 0.05 * rng.normal(size=(200, 2))
    found = cross_retrieval(x, circle, labels)
    assert found.verdict.startswith("rebuild") and found.repaired < 0.9 and found.new_new > 0.95


def test_an_embedder_that_tells_nothing_apart_is_worse(rng):
    x, labels = vectors(rng)
    assert cross_retrieval(x, rng.normal(size=x.shape), labels).verdict.startswith("worse")


def test_more_dimensions_than_before(rng):
    """The old space in the leading ones is found as it comes; elsewhere by orthonormal columns."""
    x, labels = vectors(rng)
    wide = np.concatenate([x, rng.normal(size=(200, 4))], 1)
    assert cross_retrieval(x, wide, labels).verdict.startswith("valid")
    mixed = cross_retrieval(x, wide @ turned(rng, 20), labels)
    assert mixed.new_old < 0.6 and mixed.repaired == mixed.old_old
    assert np.allclose(mixed.rotation.T @ mixed.rotation, np.eye(16), atol=1e-8)


def test_the_rotation_is_the_nearest_one(rng):
    new, old = rng.normal(size=(30, 4)), rng.normal(size=(30, 4))
    best = np.linalg.norm(new @ procrustes(new, old) - old)
    assert all(np.linalg.norm(new @ turned(rng, 4) - old) > best for _ in range(50))


def test_recall_is_of_directions(rng):
    gallery = np.eye(3)
    assert recall(5 * gallery, np.arange(3), gallery, np.arange(3)) == 1.0


def test_numbers_that_do_not_go_together_are_refused():
    with pytest.raises(TtaError, match="4 labelled frames"):
        cross_retrieval(np.eye(3), np.eye(3), np.arange(3))
    with pytest.raises(TtaError, match="same frames twice"):
        procrustes(np.eye(3), np.eye(2))
