"""Confidence of the predictions, smoothed."""

from __future__ import annotations

import math

import numpy as np

from tta.drift._moving import MovingScore
from tta.records import View


class Confidence(MovingScore):
    """Exponentially weighted moving average of the largest probability, 1/K to 1.

    c ← (1-w)·c + w·mean max p with w = 1-(1-λ)ⁿ for n frames, begun at the first value. λ = 0.05 averages
    over about 40 frames (Roberts, "Control chart tests based on geometric moving averages", Technometrics
    1959).
    """

    def observe(self, view: View) -> None:
        """Take in the frames' confidences."""
        mean = float(np.add.reduce(view.confidence)) / len(view) if len(view) else math.nan
        if math.isfinite(mean):
            self._follow(mean, len(view))
