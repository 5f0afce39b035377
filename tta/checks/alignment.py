"""Target alignment: how far the features are from the source's features of the classes that are answered."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tta.evidence import Evidence
from tta.manifest import Manifest
from tta.records import Array, View

LEAST = 4  # samples of a class, for its mean to be known
MOST_NUMBERS = 2_000_000  # of class means; models with more classes times features go without
RIDGE = 1e-2  # of the mean variance, added to each feature's
FLOOR = 0.05


class Alignment:
    """ln[d(adapted) / d(frozen)], d the mean distance of features to the source mean of the class answered.

    d² = (1/D)·Σ (f - μ_c)² / (σ² + ridge) with σ² the variance within classes; classes at calibration are
    the source model's own answers, so no label is needed. The distance is the class-conditional one of Lee
    et al., "A simple unified framework for detecting out-of-distribution samples", NeurIPS 2018, equation 2,
    with a diagonal covariance; classes that the calibration hardly saw count with the nearest known mean.
    """

    asks = frozenset({"class"})
    threshold = math.inf

    def __init__(self, manifest: Manifest, calibration: Mapping[str, Array]) -> None:
        means, var = (calibration.get(f"check.alignment.{k}") for k in ("mean", "var"))
        self._means = None if means is None else np.asarray(means, np.float64)
        self._known = None if means is None else np.isfinite(np.asarray(means)).all(1)
        self._scale = None
        if var is not None:
            wide = np.asarray(var, np.float64)
            self._scale = 1 / (wide + RIDGE * wide.mean() + 1e-12)

    @staticmethod
    def reference(view: View, targets: Array | None = None) -> dict[str, Array]:
        """Class means ``(K, D)``, nan where a class has few samples, and variance within ``(D,)``."""
        k, d = view.probabilities.shape[1], view.features.shape[1]
        if k < 2 or k * d > MOST_NUMBERS:
            return {}
        features, answers = view.features.astype(np.float64), view.probabilities.argmax(1)
        means = np.full((k, d), np.nan)
        for c in range(k):
            mine = features[answers == c]
            if len(mine) >= LEAST:
                means[c] = mine.mean(0)
        inside = np.isfinite(means[answers, 0])
        if not inside.any():
            return {}
        var = ((features - means[answers])[inside] ** 2).mean(0)
        return {"mean": means.astype(np.float32), "var": var.astype(np.float32)}

    def figure(self, evidence: Evidence) -> float:
        """The log of the ratio of distances; nan without class means or features."""
        frozen = self._distance(evidence.frozen_features, evidence.frozen_log_p)
        adapted = self._distance(evidence.adapted_features, evidence.adapted_log_p)
        return math.log((adapted + FLOOR) / (frozen + FLOOR))

    def says(self, figure: float) -> str:
        """One clause."""
        return f"features are {math.exp(figure):.2f} times as far from their classes"

    def _distance(self, features: Array, log_p: Array) -> float:
        if self._means is None or self._scale is None or self._known is None:
            return math.nan
        if features.shape[1:] != self._scale.shape or log_p.shape[1] != len(self._means):
            return math.nan
        answers = np.where(self._known, log_p, -np.inf).argmax(1)
        d2 = ((features - self._means[answers]) ** 2 * self._scale).mean(1)
        return float(d2.mean())
