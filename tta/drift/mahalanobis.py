"""Distance of the stream's mean feature from the source's."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tta.drift._moving import followed, share
from tta.drift._reference import reference
from tta.manifest import Manifest
from tta.records import Array, Step, View

RANK = 32  # directions that are kept one by one
RIDGE = 1e-2  # of the mean variance, added to each direction


class Mahalanobis:
    """Mahalanobis distance of the mean penultimate feature, in standard deviations of one source frame.

    √(dᵀΣ⁻¹d), d = m - μ, with m a moving average that weighs each frame λ = 0.02, begun at μ. Σ is kept as
    its 32 leading directions and one common variance for all others (Lee et al., "A simple unified
    framework for detecting out-of-distribution samples", NeurIPS 2018, equation 2, here of the mean and
    without classes).
    """

    distance = True

    def __init__(
        self, manifest: Manifest, calibration: Mapping[str, Array], weight: float = 0.02
    ) -> None:
        known = reference(calibration, "mahalanobis")
        self._known = {k: np.asarray(v, np.float32) for k, v in known.items()}
        self._rest = float(known["rest"][0]) if known else 0.0
        self._excess = self._known["inverse"] - np.float32(self._rest) if known else np.zeros(0)
        self._weight = weight
        self._mean: Array | None = None

    @staticmethod
    def reference(view: View, targets: Array | None) -> dict[str, Array]:
        """Mean, leading directions ``(r, D)`` with 1/variance of each, and 1/variance of the others."""
        flat = np.asarray(view.features, np.float64)
        mean = flat.mean(0)
        values, vectors = np.linalg.eigh(np.cov(flat.T, bias=True).reshape(flat.shape[1], -1))
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
        ridge = RIDGE * values.mean() + 1e-12
        rank = min(RANK, len(values))
        rest = values[rank:].mean() + ridge if rank < len(values) else math.inf
        return {
            "mean": mean.astype(np.float32),
            "basis": np.ascontiguousarray(vectors[:, :rank].T, np.float32),
            "inverse": (1 / (values[:rank] + ridge)).astype(np.float32),
            "rest": np.array([1 / rest], np.float32),
        }

    def observe(self, view: View) -> None:
        """Take in the frames' features."""
        if not self._known or view.features.shape[1:] != self._known["mean"].shape or not len(view):
            return
        weight = share(self._weight, len(view))
        old = self._known["mean"] if self._mean is None else self._mean
        self._mean = followed(old, view.features, weight)

    def observe_step(self, step: Step) -> None:
        """Features come with the predictions."""

    def score(self) -> float:
        """The distance now."""
        if self._mean is None:
            return math.nan
        d = self._mean - self._known["mean"]
        squares = self._known["basis"] @ d
        squares *= squares
        found = self._rest * float(d @ d) + float(squares @ self._excess)
        return math.sqrt(max(found, 0.0))

    def layers(self) -> Mapping[str, float]:
        """None: the features are the last layer's."""
        return {}

    def reset(self) -> None:
        """Forget the stream."""
        self._mean = None
