"""How far a confidence can be believed, where the errors are, and which images a method broke."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tta.errors import TtaError
from tta.records import Array

BINS = 15


@dataclass(frozen=True, slots=True)
class Bin:
    """Images of similar confidence: how many, their mean confidence, and the share that is right."""

    images: int
    confidence: float
    accuracy: float


def reliability(confidence: Array, correct: Array, bins: int = BINS) -> list[Bin]:
    """Bins of equal width over 0..1 that have images, from confidences ``(n,)`` and bool ``(n,)``."""
    c, right = np.asarray(confidence, float), np.asarray(correct, float)
    if c.shape != right.shape or not c.size or not ((c >= 0) & (c <= 1)).all():
        raise TtaError(
            "reliability takes as many confidences from 0 to 1 as answers, and at least one"
        )
    which = np.clip(np.ceil(c * bins).astype(int) - 1, 0, bins - 1)
    return [
        Bin(int(mine.sum()), float(c[mine].mean()), float(right[mine].mean()))
        for k in range(bins)
        if (mine := which == k).any()
    ]


def calibration_error(confidence: Array, correct: Array, bins: int = BINS) -> float:
    """Expected calibration error Σ_b (n_b/n)·|accuracy_b - confidence_b|, in 0..1.

    Guo et al., "On calibration of modern neural networks", ICML 2017, eq. 3, with M = 15 bins.

    >>> calibration_error(np.array([0.9, 0.9]), np.array([True, False]))
    0.4
    """
    found = reliability(confidence, correct, bins)
    n = sum(b.images for b in found)
    return round(float(sum(b.images / n * abs(b.accuracy - b.confidence) for b in found)), 12)


def error_by_class(predicted: Array, labels: Array, classes: int) -> Array:
    """Error ``(K,)`` in percent of the images of each class, nan where there are none."""
    here = np.bincount(labels, minlength=classes)
    wrong = np.bincount(labels, np.asarray(predicted) != labels, classes)
    with np.errstate(invalid="ignore"):
        found: Array = 100 * wrong / here
    return found


@dataclass(frozen=True, slots=True)
class Changed:
    """An image whose answer a method changed from right to wrong, or the other way."""

    item: int
    label: int
    frozen: int
    adapted: int
    confidence: float


def broken(
    items: Array, labels: Array, frozen: Array, adapted: Array, confidence: Array
) -> tuple[list[Changed], list[Changed]]:
    """Images that a method broke, and those that it repaired, each with the surest wrong answer first.

    ``confidence (n,)`` is the adapted answer's for what was broken; of what was repaired the surest right
    answers come first.
    """
    labels, frozen, adapted = (np.asarray(a) for a in (labels, frozen, adapted))
    found = []
    for mask in (
        (frozen == labels) & (adapted != labels),
        (frozen != labels) & (adapted == labels),
    ):
        order = np.flatnonzero(mask)[np.argsort(-np.asarray(confidence)[mask], kind="stable")]
        found.append(
            [
                Changed(
                    int(items[k]),
                    int(labels[k]),
                    int(frozen[k]),
                    int(adapted[k]),
                    float(confidence[k]),
                )
                for k in order
            ]
        )
    return found[0], found[1]


__all__ = [
    "Bin", "Changed", "broken", "calibration_error", "error_by_class", "reliability",
]  # fmt: skip
