"""What one stream showed lately: rate, latency, losses, and what was decided."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from tta.records import Decision, Result
from tta.runtime.gaps import Gaps
from tta.runtime.sinks.stdout import describe

WINDOW = 512  # frames behind rates and latencies
TOLD = 3  # last decisions and shifts that are kept


@dataclass
class RecentResults:
    """What one stream showed lately.

    ``lost`` are frames that the source numbered and never handed over: the loop was busy.
    """

    frames: int = 0
    lost: int = 0
    skipped: int = 0
    last: Result | None = None
    at_s: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    latency_ms: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _gaps: Gaps = field(default_factory=Gaps)
    told: deque[str] = field(default_factory=lambda: deque(maxlen=TOLD))

    def take(self, result: Result, now_s: float) -> None:
        """One more result."""
        self.lost += self._gaps.before(result.frame)
        self.frames += 1
        self.at_s.append(now_s)
        self.last = result
        if result.prediction is None:
            self.skipped += 1
        else:
            self.latency_ms.append(1e3 * result.prediction.latency_s)
        report = result.report
        if report.shift is not None:
            self.told.append(f"frame {result.frame.seq}: {describe(report.shift)}")
        if report.decision is not None and worth(report.decision):
            self.told.append(f"frame {result.frame.seq}: {said(report.decision)}")

    def rate_hz(self, now_s: float) -> float:
        """Frames a second over the window, up to now: a stream that stands still slows down."""
        if len(self.at_s) < 2:
            return 0.0
        return (len(self.at_s) - 1) / max(1e-9, now_s - self.at_s[0])

    def latency(self) -> tuple[float, float]:
        """Median and 99th percentile in ms."""
        if not self.latency_ms:
            return float("nan"), float("nan")
        middle, high = np.percentile(np.array(self.latency_ms), (50, 99))
        return float(middle), float(high)


def worth(decision: Decision) -> bool:
    """Whether people want to see it: what changed what is served, or should have."""
    return decision.action not in ("hold", "propose")


def said(decision: Decision) -> str:
    """A decision in words."""
    return f"{decision.action}, {decision.reason} (step {decision.step})"
