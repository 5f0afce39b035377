"""Kolmogorov-Smirnov test between the newest values and those before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tta.records import Array


@dataclass
class Kswin:
    """Largest distance between the distribution functions of the last r values and of the w - r before.

    Drift when D·√(nm/(n+m)) exceeds the threshold, n = r and m = w - r; only the last r values are kept then
    (Raab, Heusinger & Schleif, "Reactive soft prototype computing for concept drift streams",
    Neurocomputing 2020, section 4.2; here against all older values of the window, not a sample of them). It
    sees changes of spread and shape that leave the mean alone.

    Args:
        threshold: bound of the scaled distance; 1.95 is a significance of about 0.001.
        window: w.
        recent: r.

    >>> detector = Kswin(window=24, recent=8)
    >>> for x in [0.1, -0.2, 0.3, -0.1] * 4 + [5.0] * 8:
    ...     detector.update(x)
    >>> detector.drift_detected
    True
    """

    threshold: float = 1.95
    window: int = 64
    recent: int = 16
    values: list[float] = field(default_factory=list)
    statistic: float = 0.0
    drift_detected: bool = False

    def update(self, x: float) -> None:
        """Take in one value."""
        self.values.append(float(x))
        del self.values[: -self.window]
        self.drift_detected, self.statistic = False, 0.0
        if len(self.values) < self.window:
            return
        self.statistic = scaled_distance(
            np.array(self.values[: -self.recent]), np.array(self.values[-self.recent :])
        )
        if self.statistic > self.threshold:
            self.drift_detected = True
            del self.values[: -self.recent]

    def reset(self) -> None:
        """Begin anew."""
        self.values, self.statistic, self.drift_detected = [], 0.0, False

    def to_dict(self) -> dict[str, Any]:
        """Parameters and window, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Kswin:
        """The detector that ``to_dict`` described."""
        return cls(**{**stored, "values": list(stored["values"])})


def scaled_distance(a: Array, b: Array) -> float:
    """Sup |F_a - F_b| · √(nm/(n+m)) of two samples.

    >>> round(scaled_distance(np.array([0.0, 1.0]), np.array([2.0, 3.0])), 3)
    1.0
    """
    a, b = np.sort(a), np.sort(b)
    both = np.concatenate([a, b])
    gap = np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b)
    return float(np.abs(gap).max()) * math.sqrt(len(a) * len(b) / (len(a) + len(b)))
