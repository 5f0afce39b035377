"""How surprising a regression model's answers are to a closed-form head on its features."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tta.drift._moving import MovingScore
from tta.drift._reference import reference
from tta.heads.student_t import StudentT, negative_log_t
from tta.manifest import Manifest
from tta.records import Array, View

RANK = 32  # leading directions of the features that the head sees


class Surprise(MovingScore):
    """-log t(y) of the frozen model's answers under a Student-t head, in nats, smoothed.

    The head is fitted at export on the features (their 32 leading directions, whitened, and a constant) and
    the targets, standardised; where targets are missing, on the model's own answers. It widens away from
    the source's features, and an answer that no longer fits them is surprising (Lee et al., "Scale Mixtures
    of Neural Network Gaussian Processes", ICLR 2022). The moving average weighs each frame λ = 0.05.
    """

    asks = frozenset({"values"})

    def __init__(
        self, manifest: Manifest, calibration: Mapping[str, Array], weight: float = 0.05
    ) -> None:
        super().__init__(manifest, calibration, weight)
        self._known = reference(calibration, "surprise") if manifest.task == "regress" else {}

    @staticmethod
    def reference(view: View, targets: Array | None) -> dict[str, Array]:
        """The fitted head; empty for a classifier."""
        if view.probabilities.shape[-1] or not len(view):
            return {}
        flat = np.asarray(view.features, np.float64)
        mean = flat.mean(0)
        values, vectors = np.linalg.eigh(np.cov(flat.T, bias=True).reshape(flat.shape[1], -1))
        rank = min(RANK, len(values))
        whitening = vectors[:, ::-1][:, :rank] / np.sqrt(np.maximum(values[::-1][:rank], 1e-8))
        y = np.asarray(view.output if targets is None else targets, np.float64)
        y = y.reshape(len(view), -1)
        centre, spread = y.mean(0), y.std(0) + 1e-8
        head = StudentT.prior(rank + 1, y.shape[1]).with_samples(
            seen(flat, mean, whitening), (y - centre) / spread
        )
        parts = {
            "mean": mean,
            "whitening": whitening,
            "centre": centre,
            "spread": spread,
            "precision_inverse": head.precision_inverse,
            "weights": head.weights,
            "scale_rate": head.scale_rate,
            "shape": np.array([head.shape, head.noise]),
        }
        return {k: np.ascontiguousarray(v, np.float32) for k, v in parts.items()}

    def observe(self, view: View) -> None:
        """Take in the frames' features and answers."""
        known = self._known
        if not known or view.features.shape[1] != len(known["whitening"]) or not len(view):
            return
        phi = seen(view.features, known["mean"], known["whitening"])
        shape, noise = (float(v) for v in known["shape"])
        leverage = noise + ((phi @ known["precision_inverse"]) * phi).sum(1)
        scale = np.sqrt(np.maximum(leverage[:, None] * known["scale_rate"] / shape, 1e-12))
        y = (view.output.reshape(len(view), -1) - known["centre"]) / known["spread"]
        found = negative_log_t((y - phi @ known["weights"]) / scale, 2 * shape, scale)
        mean = float(found.sum(-1).mean())
        if math.isfinite(mean):
            self._follow(mean, len(view))


def seen(features: Array, mean: Array, whitening: Array) -> Array:
    """What the head sees of features ``(n, D)``: leading directions and a constant, ``(n, r + 1)``."""
    leading = (features - mean) @ whitening
    return np.concatenate([leading, np.ones((len(leading), 1), leading.dtype)], 1)
