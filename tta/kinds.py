"""Names the kind of a shift by the pattern of its scores, or says that it is unknown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tta.records import Array

UNKNOWN = "unknown"
PRECISION = 0.95  # share of right names that the bar is set for, on faults held out at export
LAYER = 0.05  # nats of a layer's divergence that count like one deviation
RIDGE = 1e-3
STEPS = 1000


class Kinds:
    """Softmax regression on signatures, with a bar below which it says ``unknown``.

    A signature z (deviations by score, and layers) enters as sign(z)·log(1 + |z|) and as its direction z/‖z‖,
    so that size and shape both count. The bar is the lowest probability at which at least 95 % of the names
    given to faults held out at export were right.

    Args:
        calibration: ``drift.kinds.*`` as ``fit`` made them; without them every kind is unknown.
    """

    def __init__(self, calibration: Mapping[str, Array]) -> None:
        self._weights = calibration.get("drift.kinds.weights")
        if self._weights is None:
            return
        self.kinds = unpack(calibration["drift.kinds.names"])
        self.scores = unpack(calibration["drift.kinds.scores"])
        self.confusion = np.asarray(calibration["drift.kinds.confusion"])
        self._bar = float(calibration["drift.kinds.bar"][0])

    def name(self, signature: Mapping[str, float]) -> tuple[str, float]:
        """The kind and its probability; ``unknown`` below the bar, nan without a classifier."""
        if self._weights is None:
            return UNKNOWN, math.nan
        found = probabilities(pattern([signature], self.scores), self._weights)[0]
        best = int(found.argmax())
        return (self.kinds[best] if found[best] >= self._bar else UNKNOWN), float(found[best])


def with_layers(signature: Mapping[str, float], layers: Mapping[str, float]) -> dict[str, float]:
    """A signature with the layers' scores beside it, which tell where in the model a shift shows."""
    return {**signature, **{f"layer {k}": v / LAYER for k, v in layers.items()}}


def pattern(signatures: Sequence[Mapping[str, float]], scores: Sequence[str]) -> Array:
    """Regressors ``(n, 2M + 1)`` of signatures; a score that is missing counts as on the source."""
    z = np.array([[s.get(name, 0.0) for name in scores] for s in signatures], np.float64)
    size = np.sqrt((z * z).sum(1, keepdims=True)) + 1e-9
    return np.concatenate([np.sign(z) * np.log1p(np.abs(z)), 3 * z / size, np.ones_like(size)], 1)


def probabilities(x: Array, weights: Array) -> Array:
    """Softmax of ``(n, d) @ (d, K)``."""
    logits = x @ weights
    logits = logits - logits.max(1, keepdims=True)
    exponential = np.exp(logits)
    return np.asarray(exponential / exponential.sum(1, keepdims=True))


def regress(x: Array, labels: Array, classes: int) -> Array:
    """Weights ``(d, K)`` of a ridge softmax regression in which each class weighs the same.

    Gradient descent at the reciprocal of the curvature's bound (Böhning, "Multinomial logistic regression
    algorithm", AISM 1992), with Nesterov's momentum.
    """
    wanted = np.eye(classes)[labels]
    weight = (1 / np.maximum(wanted.sum(0), 1))[labels] / classes
    curvature = 0.5 * np.linalg.norm(x * np.sqrt(weight)[:, None], 2) ** 2 + RIDGE
    w = ahead = np.zeros((x.shape[1], classes))
    for step in range(STEPS):
        slope = x.T @ ((probabilities(x, ahead) - wanted) * weight[:, None]) + RIDGE * ahead
        new = ahead - slope / curvature
        ahead, w = new + step / (step + 3) * (new - w), new
    return np.asarray(w)


def fit(
    signatures: Sequence[Mapping[str, float]],
    kinds: Sequence[str],
    held_out: Sequence[Mapping[str, float]],
    held_out_kinds: Sequence[str],
    held_out_faults: Sequence[int],
) -> dict[str, Array]:
    """Classifier, bar and confusion matrix for a bundle.

    Args:
        signatures: of simulated faults, to learn from.
        kinds: their kinds.
        held_out: of other faults, to set the bar and count the confusion on.
        held_out_kinds: their kinds.
        held_out_faults: number of the fault that each is of; even ones set the bar, odd ones are counted.

    Returns:
        ``weights`` ``(d, K)``, ``bar``, packed ``names`` and ``scores``, and ``confusion`` ``(K, K+1)``:
        true kinds in rows, given names in columns, the last one unknown.
    """
    names = sorted(set(kinds))
    scores = sorted(set().union(*signatures))
    labels = np.array([names.index(k) for k in kinds])
    weights = regress(pattern(signatures, scores), labels, len(names))
    found = probabilities(pattern(held_out, scores), weights)
    truth = np.array([names.index(k) for k in held_out_kinds])
    right, sure = found.argmax(1) == truth, found.max(1)
    setting = np.array(held_out_faults) % 2 == 0
    bar = lowest_bar(sure[setting], right[setting])
    confusion = np.zeros((len(names), len(names) + 1), np.float32)
    for t, best, s in zip(truth[~setting], found[~setting].argmax(1), sure[~setting]):
        confusion[t, best if s >= bar else -1] += 1
    return {
        "weights": weights.astype(np.float32),
        "bar": np.array([bar], np.float32),
        "confusion": confusion,
        "names": pack(names),
        "scores": pack(scores),
    }


def lowest_bar(sure: Array, right: Array, precision: float = PRECISION) -> float:
    """Lowest probability from which on at least that share is right; above 1 if there is none.

    >>> lowest_bar(np.array([0.9, 0.8, 0.4]), np.array([True, True, False]))
    0.8
    """
    order = np.argsort(-sure)
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share >= precision)
    return float(sure[order][good[-1]]) if len(good) else 2.0


def pack(names: Sequence[str]) -> Array:
    """Names as bytes, for a file that holds arrays only.

    >>> unpack(pack(["a", "bc"]))
    ['a', 'bc']
    """
    return np.array(list("\n".join(names).encode()), np.uint8)


def unpack(packed: Array) -> list[str]:
    """Names from bytes."""
    return bytes(packed).decode().split("\n")
