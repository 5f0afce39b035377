"""Which labels are likely wrong, by confident learning, and what that means for a comparison.

Probabilities must be out of sample and the *source* model's: those of an adapted stream have learned from the
very images that they are asked about.

Northcutt, Jiang & Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tta.errors import TtaError
from tta.records import Array

_SLACK = 1e-6  # a probability equal to its class's mean counts as confident


@dataclass(frozen=True, slots=True)
class LabelAudit:
    """What confident learning says of some labels.

    Attributes:
        confident: ``(K, K)`` images labelled i (row) that are confidently j (column).
        joint: ``(K, K)`` estimated joint distribution of given and true label.
        suspects: images whose label is likely wrong, the surest first.
        suggested: ``(n,)`` class that each image confidently is, -1 where none is.
        margin: ``(n,)`` p(given) less the largest other probability; the suspects' order.
    """

    confident: Array
    joint: Array
    suspects: Array
    suggested: Array
    margin: Array

    @property
    def noise(self) -> float:
        """Estimated share of wrong labels, 1 - trace(joint)."""
        return float(1 - np.trace(self.joint))

    @property
    def kept(self) -> Array:
        """``(n,)`` bool: not a suspect."""
        mask = np.ones(len(self.margin), bool)
        mask[self.suspects] = False
        return mask


def audit_labels(probabilities: Array, labels: Array) -> LabelAudit:
    """Audit labels ``(n,)`` by probabilities ``(n, K)``.

    The threshold of class k is the mean probability of k over images labelled k (eq. 2). An image is
    confidently j, the most probable of the classes whose threshold it reaches, and counts in C[label, j] (1).
    The joint is C with its rows scaled to the label counts, then to a sum of 1 (eq. 3). Suspects are the
    images off the diagonal of C, but for those whose most probable class is the given one, in order of
    the normalized margin.

    Raises:
        TtaError: no images, another shape, or probabilities that are none.

    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.05, 0.95]])
    >>> audit_labels(p, np.array([0, 0, 1, 1, 0])).suspects.tolist()
    [4]
    """
    p, given = _checked(probabilities, labels)
    n, classes = p.shape
    here = np.bincount(given, minlength=classes)
    total = np.bincount(given, p[np.arange(n), given], classes)
    threshold = np.where(here > 0, total / np.maximum(here, 1), np.inf)
    reached = p >= threshold - _SLACK
    suggested = np.where(reached.any(1), np.where(reached, p, -1).argmax(1), -1)
    counted = suggested >= 0
    confident = np.zeros((classes, classes), int)
    np.add.at(confident, (given[counted], suggested[counted]), 1)
    known = np.flatnonzero(here)
    confident[known, known] = np.maximum(confident[known, known], 1)
    rows = confident.sum(1, keepdims=True)
    joint = confident / np.maximum(rows, 1) * here[:, None]
    joint /= joint.sum()
    others = p.copy()
    others[np.arange(n), given] = -np.inf
    margin = p[np.arange(n), given] - others.max(1)
    wrong = np.flatnonzero(counted & (suggested != given) & (p.argmax(1) != given))
    suspects = wrong[np.argsort(margin[wrong], kind="stable")]
    return LabelAudit(confident, joint, suspects, suggested, margin)


def flips_at(clean: tuple[float, float], corrected: tuple[float, float]) -> float | None:
    """Share of wrong labels from which on the ranking of two methods is the other one; None for never.

    With A better by D on images whose label is right, and B better by E on those whose label was wrong, by
    their corrected labels, the accuracies on a set with a share p of the latter are equal at
    p = D/(D + E). After Northcutt, Athalye & Mueller, "Pervasive label errors in test sets destabilize
    machine learning benchmarks", NeurIPS 2021, section 5.

    Args:
        clean: accuracies of A and B on images whose label is right.
        corrected: of A and B on images whose label was wrong, against the corrected label.

    >>> flips_at((0.9, 0.8), (0.3, 0.6))
    0.25
    """
    better, worse = clean[0] - clean[1], corrected[1] - corrected[0]
    if better < 0:  # the other way round
        better, worse = -better, -worse
    if better == 0:
        return 0.0 if worse else None
    return round(better / (better + worse), 12) if worse > 0 else None


def gains(frozen: Array, adapted: Array, labels: Array, kept: Array) -> tuple[float, float]:
    """Gain of the adapted answers in points of error, on all images and on those whose label is kept."""
    better = 100 * ((frozen != labels).astype(float) - (adapted != labels))
    if not kept.any():
        raise TtaError(
            "no label is kept: the audit suspects every image, so its model is not these data's"
        )
    return float(better.mean()), float(better[kept].mean())


def _checked(probabilities: Array, labels: Array) -> tuple[Array, Array]:
    p, given = np.asarray(probabilities, np.float64), np.asarray(labels)
    if p.ndim != 2 or not p.size or given.shape != p.shape[:1] or p.shape[1] < 2:
        raise TtaError(
            f"an audit takes probabilities (n, K) of at least two classes and labels (n,), but got "
            f"{p.shape} and {given.shape}"
        )
    if not np.isfinite(p).all() or p.min() < 0 or np.abs(p.sum(1) - 1).max() > 1e-3:
        raise TtaError(
            "an audit takes probabilities: each row from 0 to 1 with a sum of 1, none of them NaN"
        )
    if given.min() < 0 or given.max() >= p.shape[1]:
        raise TtaError(f"a label is a class from 0 to {p.shape[1] - 1}, but one is {given.max()}")
    return p, given.astype(np.int64)


__all__ = ["LabelAudit", "audit_labels", "flips_at", "gains"]
