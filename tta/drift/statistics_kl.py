"""Distance between the stream's layer statistics and the source's."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tta.manifest import Manifest
from tta.moments import LayerDistance
from tta.records import Array, Step, View


class StatisticsKl:
    """Symmetric Gaussian KL divergence between source and current statistics, by layer and in the mean.

    J_l = mean over channels of ½·[(v + d²)/v_s + (v_s + d²)/v] - 1, in nats, on the moments of each norm
    layer's input under the source slots, so that adaptation cannot hide the shift (Hong et al., "MECTA",
    ICLR 2023, section 3.2). The score is the mean over layers of the latest batch; nan where the
    bundle knows no source statistics.
    """

    distance = True

    def __init__(self, manifest: Manifest, calibration: Mapping[str, Array]) -> None:
        self._distance = LayerDistance(calibration)
        self._layers: Mapping[str, float] = {}
        self._value = math.nan

    def observe(self, view: View) -> None:
        """Single frames carry no layer statistics."""

    def observe_step(self, step: Step) -> None:
        """Take in the moments of one batch."""
        self._layers = self._distance(step.moments)
        values = self._layers.values()
        self._value = sum(values) / len(values) if values else math.nan

    def score(self) -> float:
        """Mean over layers."""
        return self._value

    def layers(self) -> Mapping[str, float]:
        """Divergence by layer."""
        return self._layers

    def reset(self) -> None:
        """Forget the stream."""
        self._layers, self._value = {}, math.nan
