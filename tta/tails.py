"""How rarely a detector's statistic exceeds a value on source data, beyond what was seen."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tta.records import Array

WINDOW = 64  # updates a window: longer than most excursions, so that maxima are nearly independent
TAIL = 0.4  # share of window maxima that count as tail
CAUTION = 1.64  # standard errors that the scale is widened by: few maxima give a wide threshold


class Tail(NamedTuple):
    """Exponential tail of the statistic's maxima: rate(h) = rate · exp(-(h - level) / scale) an update.

    For cumulative sums the form is exact in the limit (Siegmund, "Sequential analysis", 1985, section 2.6);
    for others it is the Gumbel case of peaks over a threshold (Pickands, Annals of Statistics 1975).
    """

    level: float
    rate: float
    scale: float

    def threshold(self, rate: float) -> float:
        """Value that the statistic exceeds that often an update.

        >>> round(Tail(4.0, 0.01, 2.0).threshold(0.01 * math.exp(-1)), 6)
        6.0
        """
        return self.level + self.scale * math.log(self.rate / rate)

    def exceeded(self, value: float) -> float:
        """How often an update the statistic exceeds a value; at most the rate at the level."""
        return self.rate * math.exp(min(0.0, -(value - self.level) / self.scale))


def fit(statistic: Array, window: int = WINDOW) -> Tail:
    """Tail of a statistic ``(T,)`` that was recorded without resets, from the maxima of its windows."""
    maxima = window_maxima(statistic, window)
    level = float(np.quantile(maxima, 1 - TAIL))
    beyond = maxima[maxima > level] - level
    if not len(beyond):
        return Tail(level, TAIL / window, max(abs(level), 1.0))
    scale = float(beyond.mean()) * (1 + CAUTION / math.sqrt(len(beyond)))
    return Tail(level, len(beyond) / len(maxima) / window, max(scale, 1e-6))


def window_maxima(statistic: Array, window: int = WINDOW) -> Array:
    """Maxima of consecutive windows ``(T // window,)``, of the whole where it is shorter."""
    values = np.asarray(statistic, np.float64)
    count = max(1, len(values) // window)
    return np.array([part.max() for part in np.array_split(values, count)])


def dependence(maxima: Array, share: float = 0.1) -> float:
    """How often some of M statistics is in its upper tail, over the sum of how often each is, 1/M to 1.

    Args:
        maxima: window maxima ``(n, M)``.
        share: what counts as tail.
    """
    high = maxima > np.quantile(maxima, 1 - share, axis=0)
    total = float(high.mean(0).sum())
    return float(high.any(1).mean()) / total if total else 1.0
