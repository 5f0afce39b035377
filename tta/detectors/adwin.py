"""Adaptive windowing: a window that shrinks when its halves differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

PER_SIZE = 5  # buckets of one size before two of them merge
LEAST = 5  # values on either side of a cut


@dataclass
class Adwin:
    """ADWIN2: drift when some cut of the window has means that differ by more than chance allows.

    With n₀, n₁ values on the sides of a cut, m = 1/(1/n₀ + 1/n₁), σ² the window's variance and L = ln(2/δ')
    for δ' = δ/ln n, the bound is |x̄₀ - x̄₁| ≥ √(2σ²L/m) + 2L/(3m); older buckets are dropped while it is
    exceeded (Bifet & Gavaldà, "Learning from time-changing data with adaptive windowing", SDM 2007,
    equation 3.1). Solved for L, each cut has a statistic L - ln ln n, which ``threshold`` = ln(2/δ) bounds.
    Buckets hold 1, 2, 4, ... values, five of each size; values may have any sign.

    Args:
        threshold: ln(2/δ); 6.9 is δ = 0.002.
        clock: values between two looks at the window.
        longest: values a window holds at most.

    >>> detector = Adwin(clock=1)
    >>> for k in range(100):
    ...     detector.update(-1.0 if k < 50 else 1.0)
    ...     if detector.drift_detected:
    ...         break
    >>> 50 < k < 70
    True
    """

    threshold: float = 6.9
    clock: int = 4
    longest: int = 4096
    rows: list[list[list[float]]] = field(default_factory=list)  # by size: [sum, sum of squares]
    ticks: int = 0
    statistic: float = 0.0
    drift_detected: bool = False

    def update(self, x: float) -> None:
        """Take in one value."""
        self.drift_detected = False
        self._insert(x)
        self.ticks += 1
        if self.ticks % self.clock:
            return
        self.statistic = self._largest()
        largest = self.statistic
        while largest > self.threshold:
            self.drift_detected = True
            self._drop()
            largest = self._largest()

    def _insert(self, x: float) -> None:
        if not self.rows:
            self.rows.append([])
        self.rows[0].append([x, x * x])
        for k, row in enumerate(self.rows):
            if len(row) <= PER_SIZE:
                break
            if k + 1 == len(self.rows):
                self.rows.append([])
            (a, b), self.rows[k] = row[:2], row[2:]
            self.rows[k + 1].append([a[0] + b[0], a[1] + b[1]])
        while sum(len(row) << k for k, row in enumerate(self.rows)) > self.longest:
            self._drop()

    def _drop(self) -> None:
        """Forget the oldest bucket."""
        self.rows[-1].pop(0)
        while self.rows and not self.rows[-1]:
            self.rows.pop()

    def _oldest_first(self) -> Iterator[tuple[int, float, float]]:
        for k in range(len(self.rows) - 1, -1, -1):
            for total, squares in self.rows[k]:
                yield 1 << k, total, squares

    def _largest(self) -> float:
        """Largest statistic of a cut between two buckets."""
        buckets = list(self._oldest_first())
        n = sum(b[0] for b in buckets)
        total = sum(b[1] for b in buckets)
        if n < 2 * LEAST:
            return 0.0
        variance = max(sum(b[2] for b in buckets) / n - (total / n) ** 2, 0.0)
        correction = math.log(math.log(n))
        best, n0, sum0 = 0.0, 0, 0.0
        for size, amount, _ in buckets:
            n0, sum0 = n0 + size, sum0 + amount
            n1 = n - n0
            if n0 < LEAST or n1 < LEAST:
                continue
            m = n0 * n1 / n
            apart = abs(sum0 / n0 - (total - sum0) / n1)
            # √L solves (2/3m)·L + √(2σ²/m)·√L = apart
            b, a = math.sqrt(2 * variance / m), 2 / (3 * m)
            root = (math.sqrt(b * b + 4 * a * apart) - b) / (2 * a)
            best = max(best, root * root - correction)
        return best

    def reset(self) -> None:
        """Begin anew."""
        self.rows, self.ticks = [], 0
        self.statistic, self.drift_detected = 0.0, False

    def to_dict(self) -> dict[str, Any]:
        """Parameters and window, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Adwin:
        """The detector that ``to_dict`` described."""
        rows = [[list(bucket) for bucket in row] for row in stored["rows"]]
        return cls(**{**stored, "rows": rows})
