"""Maximum mean discrepancy of the features, by random Fourier features."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tta.drift._moving import followed, share
from tta.drift._reference import reference
from tta.manifest import Manifest
from tta.records import Array, Step, View

FREQUENCIES = 64
EVERY = 4  # frames of which one is looked at: cosines are dear
PAIRS = 512  # frames whose distances set the bandwidth


class Mmd:
    """Maximum mean discrepancy between the stream's features and the source's, Gaussian kernel.

    ‖E z(x) - E z(x')‖ with z(x) = √(2/F)·cos(xW + b), W ~ N(0, 1/h²), b ~ U(0, 2π), for which E z(x)·z(x')
    = exp(-‖x-x'‖²/2h²) (Rahimi & Recht, "Random features for large-scale kernel machines", NIPS 2007;
    Gretton et al., "A kernel two-sample test", JMLR 2012, equation 5). h is the median distance of source
    frames; the stream's mean is a moving average that weighs each frame λ = 0.02, begun at the source's.
    """

    distance = True

    def __init__(
        self, manifest: Manifest, calibration: Mapping[str, Array], weight: float = 0.02
    ) -> None:
        known = reference(calibration, "mmd")
        self._known = {k: np.asarray(v, np.float32) for k, v in known.items()}
        self._weight = weight
        self._mean: Array | None = None

    @staticmethod
    def reference(view: View, targets: Array | None) -> dict[str, Array]:
        """Frequencies ``(D, F)``, phases ``(F,)`` and the mean of z on the source."""
        x = np.asarray(view.features[:PAIRS], np.float64)
        squares = (x * x).sum(1)
        apart = np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0)
        median = float(np.median(apart[np.triu_indices(len(x), 1)])) if len(x) > 1 else 0.0
        width = math.sqrt(median) or 1.0
        rng = np.random.default_rng(0)
        frequencies = (rng.standard_normal((x.shape[1], FREQUENCIES)) / width).astype(np.float32)
        phases = rng.uniform(0, 2 * math.pi, FREQUENCIES).astype(np.float32)
        mean = waves(view.features, frequencies, phases).mean(0, np.float64)
        return {"frequencies": frequencies, "phases": phases, "mean": mean.astype(np.float32)}

    def observe(self, view: View) -> None:
        """Take in the frames' features."""
        known = self._known
        if not known or view.features.shape[1] != len(known["frequencies"]) or not len(view):
            return
        weight = share(self._weight, len(view))
        seen = waves(view.features[::EVERY], known["frequencies"], known["phases"])
        old = known["mean"] if self._mean is None else self._mean
        self._mean = followed(old, seen, weight)

    def observe_step(self, step: Step) -> None:
        """Features come with the predictions."""

    def score(self) -> float:
        """The discrepancy now."""
        if self._mean is None:
            return math.nan
        d = self._mean - self._known["mean"]
        return math.sqrt(float(d @ d))

    def layers(self) -> Mapping[str, float]:
        """None: the features are the last layer's."""
        return {}

    def reset(self) -> None:
        """Forget the stream."""
        self._mean = None


def waves(x: Array, frequencies: Array, phases: Array) -> Array:
    """Random Fourier features √(2/F)·cos(xW + b) of ``(n, D)``, ``(n, F)``."""
    angles = x @ frequencies
    angles += phases
    np.cos(angles, out=angles)
    angles *= np.float32(math.sqrt(2 / len(phases)))
    return np.asarray(angles)
