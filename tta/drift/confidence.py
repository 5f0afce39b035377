"""Confidence of the predictions, smoothed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tta.drift._reference import share
from tta.manifest import Manifest
from tta.records import Array, Step, View


class Confidence:
    """Exponentially weighted moving average of the largest probability, 1/K to 1.

    c ← (1-w)·c + w·mean max p with w = 1-(1-λ)ⁿ for n frames, begun at the first value. λ = 0.05 averages
    over about 40 frames (Roberts, "Control chart tests based on geometric moving averages", Technometrics
    1959).
    """

    def __init__(
        self, manifest: Manifest, calibration: Mapping[str, Array], weight: float = 0.05
    ) -> None:
        self._weight = weight
        self._value = math.nan

    def observe(self, view: View) -> None:
        """Take in the frames' confidences."""
        mean = float(np.add.reduce(view.confidence)) / len(view) if len(view) else math.nan
        if math.isfinite(mean):
            old = mean if math.isnan(self._value) else self._value
            self._value = old + share(self._weight, len(view)) * (mean - old)

    def observe_step(self, step: Step) -> None:
        """Batch statistics say nothing of the confidence."""

    def score(self) -> float:
        """The average now."""
        return self._value

    def layers(self) -> Mapping[str, float]:
        """None: the confidence belongs to no layer."""
        return {}

    def reset(self) -> None:
        """Forget the stream."""
        self._value = math.nan
