"""Distance between the stream's layer statistics and the source's."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tta.manifest import Manifest
from tta.moments import distance
from tta.records import Array, Prediction, Step


class StatisticsKl:
    """Symmetric Gaussian KL divergence between source and current statistics, by layer and in the mean.

    J_l = mean over channels of ½·[(v + d²)/v_s + (v_s + d²)/v] - 1, in nats, on the moments of each norm
    layer's input under the source slots, so that adaptation cannot hide the shift (Hong et al., "MECTA",
    ICLR 2023, section 3.2). The score is the mean over layers of the latest batch; nan where the
    bundle knows no source statistics.
    """

    def __init__(self, manifest: Manifest, calibration: Mapping[str, Array]) -> None:
        self._source = calibration
        self._layers: dict[str, float] = {}

    def observe(self, prediction: Prediction) -> None:
        """Single predictions carry no layer statistics."""

    def observe_step(self, step: Step) -> None:
        """Take in the moments of one batch."""
        self._layers = distance(step.moments, self._source)

    def score(self) -> float:
        """Mean over layers."""
        return float(np.mean(list(self._layers.values()))) if self._layers else math.nan

    def layers(self) -> Mapping[str, float]:
        """Divergence by layer."""
        return dict(self._layers)

    def reset(self) -> None:
        """Forget the stream."""
        self._layers = {}
