"""Moving averages over the frames of a stream."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tta.manifest import Manifest
from tta.records import Array, Step


def share(weight: float, frames: int) -> float:
    """Weight of a block of frames in a moving average that weighs each frame ``weight``.

    >>> round(share(0.05, 2), 4)
    0.0975
    """
    return 1.0 - (1.0 - weight) ** frames


def followed(old: Array, rows: Array, weight: float) -> Array:
    """A moving mean ``(D,)`` after rows ``(n, D)`` that together weigh ``weight``."""
    new: Array = np.add.reduce(rows, 0)
    new *= np.float32(weight / len(rows))
    new += np.float32(1 - weight) * old
    return new


class MovingScore:
    """A drift metric that is the moving average of one number a frame, and has no layers.

    v ← (1-w)·v + w·new with w = 1-(1-λ)ⁿ for n frames. λ = 0.05 averages over about 40 frames (Roberts,
    "Control chart tests based on geometric moving averages", Technometrics 1959).
    """

    def __init__(
        self, manifest: Manifest, calibration: Mapping[str, Array], weight: float = 0.05
    ) -> None:
        self._weight = weight
        self._value = math.nan

    def _follow(self, new: float, frames: int, start: float = math.nan) -> None:
        """Take in the mean of some frames; the average begins at ``start``, or without one at ``new``."""
        old = self._value
        if math.isnan(old):
            old = new if math.isnan(start) else start
        self._value = old + share(self._weight, frames) * (new - old)

    def observe_step(self, step: Step) -> None:
        """Batch statistics say nothing of it."""

    def score(self) -> float:
        """The average now."""
        return self._value

    def layers(self) -> Mapping[str, float]:
        """None: it belongs to no layer."""
        return {}

    def reset(self) -> None:
        """Forget the stream."""
        self._value = math.nan
