"""Entropy of the predictions, smoothed."""

from __future__ import annotations

import math

import numpy as np

from tta.drift._moving import MovingScore
from tta.records import View


class Entropy(MovingScore):
    """Exponentially weighted moving average of the prediction entropy, in nats.

    e ← (1-w)·e + w·mean H(p) with w = 1-(1-λ)ⁿ for n frames, begun at the first value. λ = 0.05 averages over
    about 40 frames (Roberts, "Control chart tests based on geometric moving averages", Technometrics 1959).
    """

    def observe(self, view: View) -> None:
        """Take in the frames' entropies."""
        mean = float(np.add.reduce(view.entropy)) / len(view) if len(view) else math.nan
        if math.isfinite(mean):
            self._follow(mean, len(view))
