"""Page-Hinkley test, in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class PageHinkley:
    """Cumulative deviation of a standardised score from its own mean, against its lowest and highest point.

    m_t = Σ (x_i - x̄_i - δ), U = m_t - min m;  M_t = Σ (x_i - x̄_i + δ), D = max M - M_t, with x̄_i the
    mean up to i; drift when the larger exceeds the threshold λ (Hinkley, "Inference about the change-point
    from cumulative sum tests", Biometrika 1971). Unlike the cumulative sum it needs no known mean, and so
    it adapts to a site, and misses a drift that is there from the start.

    Args:
        threshold: λ, in standard deviations of the score.
        delta: δ, the change that is tolerated.
        least: values before which nothing is said.

    >>> detector = PageHinkley(threshold=5.0, delta=0.1, least=3)
    >>> for x in [0.0, 0.1, -0.1, 0.0, 3.0, 3.0, 3.0]:
    ...     detector.update(x)
    >>> detector.drift_detected
    True
    """

    threshold: float = 10.0
    delta: float = 0.25
    least: int = 8
    count: int = 0
    mean: float = 0.0
    up: float = 0.0
    lowest: float = 0.0
    down: float = 0.0
    highest: float = 0.0
    drift_detected: bool = False

    def update(self, x: float) -> None:
        """Take in one value."""
        if self.drift_detected:
            self.reset()
        self.count += 1
        self.mean += (x - self.mean) / self.count
        deviation = x - self.mean
        self.up += deviation - self.delta
        self.lowest = min(self.lowest, self.up)
        self.down += deviation + self.delta
        self.highest = max(self.highest, self.down)
        self.drift_detected = self.count >= self.least and self.statistic > self.threshold

    @property
    def statistic(self) -> float:
        """The larger of U and D."""
        return max(self.up - self.lowest, self.highest - self.down)

    def reset(self) -> None:
        """Begin anew."""
        self.count = 0
        self.mean = self.up = self.lowest = self.down = self.highest = 0.0
        self.drift_detected = False

    def to_dict(self) -> dict[str, Any]:
        """Parameters and sums, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> PageHinkley:
        """The detector that ``to_dict`` described."""
        return cls(**stored)
