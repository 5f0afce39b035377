"""How many frames the source model gets wrong by now, estimated without labels."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tta.drift._moving import MovingScore
from tta.drift._reference import reference
from tta.manifest import Manifest
from tta.records import Array, View


class EstimatedError(MovingScore):
    """Average thresholded confidence: the share of frames less confident than t, 0 to 1.

    t is the confidence below which, on labelled source frames, as many lie as the model gets wrong; a
    stream's error is estimated by the share below t (Garg et al., "Leveraging unlabeled data to predict
    out-of-distribution performance", ICLR 2022, equation 3, with the largest probability as score). The
    moving average weighs each frame λ = 0.02 and begins at the source's error. Without labels at export
    there is none.
    """

    asks = frozenset({"class"})

    def __init__(
        self, manifest: Manifest, calibration: Mapping[str, Array], weight: float = 0.02
    ) -> None:
        super().__init__(manifest, calibration, weight)
        known = reference(calibration, "estimated_error")
        self.source_error = float(known["error"][0]) if known else math.nan
        self._threshold = float(known["threshold"][0]) if known else math.nan

    @staticmethod
    def reference(view: View, targets: Array | None) -> dict[str, Array]:
        """T and the error on the source; empty without labels."""
        if targets is None or not view.probabilities.shape[-1] or targets.ndim != 1:
            return {}
        error = float((view.probabilities.argmax(-1) != targets).mean())
        return {
            "threshold": np.array([quantile(view.confidence, error)], np.float32),
            "error": np.array([error], np.float32),
        }

    def below(self, view: View) -> Array:
        """Which frames the estimate takes for wrong, ``(n,)``."""
        found: Array = view.confidence < self._threshold
        return found

    def observe(self, view: View) -> None:
        """Take in the frames' confidences."""
        if math.isnan(self._threshold) or not len(view) or not view.probabilities.shape[-1]:
            return
        wrong = float(np.count_nonzero(self.below(view))) / len(view)
        self._follow(wrong, len(view), self.source_error)


def quantile(confidence: Array, share_below: float) -> float:
    """Threshold with that share of values strictly below it.

    >>> import numpy as np
    >>> quantile(np.array([0.2, 0.9, 0.6, 0.4]), 0.5)
    0.6
    """
    ordered = np.sort(confidence)
    k = min(round(share_below * len(ordered)), len(ordered) - 1)
    return float(ordered[k])
