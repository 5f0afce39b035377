"""Distance of the stream's mean feature from the source's."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tta.drift._reference import reference, share
from tta.manifest import Manifest
from tta.records import Array, Step, View

RANK = 32  # directions that are kept one by one
RIDGE = 1e-2  # of the mean variance, added to each direction


class Mahalanobis:
    """Mahalanobis distance of the mean penultimate feature, in standard deviations of one source frame.

    √(dᵀΣ⁻¹d), d = m - μ, with m a moving average that weighs each frame λ = 0.02, begun at μ. Σ is kept as its
    32 leading directions and one common variance for all others (Lee et al., "A simple unified framework
    for detecting out-of-distribution samples", NeurIPS 2018, equation 2, here of the mean and without classes).
    """

    distance = True

    def __init__(
        self, manifest: Manifest, calibration: Mapping[str, Array], weight: float = 0.02
    ) -> None:
        known = reference(calibration, "mahalanobis")
        self._known = {k: np.asarray(v, np.float32) for k, v in known.items()}
        self._rest = float(known["rest"][0]) if known else 0.0
        self._weight = weight
        self._mean: Array | None = None

    @staticmethod
    def reference(view: View, targets: Array | None) -> dict[str, Array]:
        """Mean, whitening ``(D, r)`` of the leading directions, and 1/variance of the others."""
        flat = np.asarray(view.features, np.float64)
        mean = flat.mean(0)
        values, vectors = np.linalg.eigh(np.cov(flat.T, bias=True).reshape(flat.shape[1], -1))
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
        ridge = RIDGE * values.mean() + 1e-12
        rank = min(RANK, len(values))
        rest = values[rank:].mean() + ridge if rank < len(values) else math.inf
        return {
            "mean": mean.astype(np.float32),
            "whitening": (vectors[:, :rank] / np.sqrt(values[:rank] + ridge)).astype(np.float32),
            "basis": np.ascontiguousarray(vectors[:, :rank], np.float32),
            "rest": np.array([1 / rest], np.float32),
        }

    def observe(self, view: View) -> None:
        """Take in the frames' features."""
        if not self._known or not len(view):
            return
        block = view.features.mean(0)
        old = self._known["mean"] if self._mean is None else self._mean
        self._mean = old + np.float32(share(self._weight, len(view))) * (block - old)

    def observe_step(self, step: Step) -> None:
        """Features come with the predictions."""

    def score(self) -> float:
        """The distance now."""
        if self._mean is None:
            return math.nan
        d = self._mean - self._known["mean"]
        leading = d @ self._known["whitening"]
        found = float(leading @ leading)
        if self._rest:
            inside = d @ self._known["basis"]
            found += self._rest * max(float(d @ d) - float(inside @ inside), 0.0)
        return math.sqrt(found)

    def layers(self) -> Mapping[str, float]:
        """None: the features are the last layer's."""
        return {}

    def reset(self) -> None:
        """Forget the stream."""
        self._mean = None
