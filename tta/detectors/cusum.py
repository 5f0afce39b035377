"""Two-sided cumulative sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Cusum:
    """Cumulative sums of a standardised score, up and down, of what exceeds the slack k.

    S⁺ ← max(0, S⁺ + x - k), S⁻ ← max(0, S⁻ - x - k); drift when the larger exceeds the threshold h, after
    which both begin anew (Page, "Continuous inspection schemes", Biometrika 1954, section 4). It is the
    fastest test for a step of 2k standard deviations.

    Args:
        threshold: h, in standard deviations of the score.
        slack: k, likewise.

    >>> detector = Cusum(threshold=4.0, slack=0.5)
    >>> steps = [0.1, -0.3, 0.2, 2.0, 2.2, 1.9]
    >>> for x in steps:
    ...     detector.update(x)
    >>> round(detector.statistic, 1), detector.drift_detected
    (4.6, True)
    """

    threshold: float = 5.0
    slack: float = 0.5
    up: float = 0.0
    down: float = 0.0
    drift_detected: bool = False

    def update(self, x: float) -> None:
        """Take in one value."""
        if self.drift_detected:
            self.reset()
        up, down = self.up + x - self.slack, self.down - x - self.slack
        self.up, self.down = (up if up > 0 else 0.0), (down if down > 0 else 0.0)
        self.drift_detected = self.up > self.threshold or self.down > self.threshold

    @property
    def statistic(self) -> float:
        """The larger sum."""
        return max(self.up, self.down)

    def reset(self) -> None:
        """Begin anew."""
        self.up = self.down = 0.0
        self.drift_detected = False

    def to_dict(self) -> dict[str, Any]:
        """Parameters and sums, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Cusum:
        """The detector that ``to_dict`` described."""
        return cls(**stored)
