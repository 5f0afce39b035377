"""A 95 % interval of a mean whose values follow one another in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tta.records import Array

Z = 1.959964  # 97.5 % point of the normal distribution
FEWEST = 5  # blocks without which there is no interval
BLOCKS = 20  # that a stretch is cut into


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval; ``low`` and ``high`` are None where the values are too few."""

    mean: float
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies above or below zero, else 0."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)


def interval(values: Array, block: int, most: float = float("inf")) -> Interval:
    """Mean of ``values (n,)`` with a Student-t interval over means of blocks of ``block`` values.

    Neighbours in a stream share their scene and the adapted state, so single values would make the interval
    too narrow; means of long blocks are nearly independent ("batch means": Schmeiser, "Batch size effects in
    the analysis of simulation output", Operations Research 1982). What is left over behind the last whole
    block counts for the mean alone. Fewer than five blocks give no interval. ``most``: the largest
    magnitude that a value can have, where the interval ends as well.

    >>> interval(np.array([0.0, 1.0] * 50), 10)
    Interval(mean=0.5, low=0.5, high=0.5)
    """
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    mean = float(values.mean()) if values.size else float("nan")
    count = len(values) // max(1, block)
    if count < FEWEST:
        return Interval(mean, None, None)
    means = values[: count * block].reshape(count, block).mean(1)
    half = student(count - 1) * float(means.std(ddof=1)) / np.sqrt(count)
    low, high = max(-most, mean - half), min(most, mean + half)
    return Interval(mean, float(low), float(high))


def pooled(parts: Sequence[tuple[Interval, int]]) -> Interval:
    """The mean over stretches ``(interval, values)``, each of which stays as long as it is.

    Σ wₛ·meanₛ with the half width √Σ (wₛ·halfₛ)², wₛ the stretch's share of the values: what the world does
    is given, so that it differs between stretches makes nothing unsure. None where a stretch has none.

    >>> pooled([(Interval(0.0, -0.3, 0.3), 10), (Interval(1.0, 0.6, 1.4), 10)])
    Interval(mean=0.5, low=0.25, high=0.75)
    """
    known = [(each, n) for each, n in parts if n and each.mean == each.mean]
    total = sum(n for _, n in known)
    if not total:
        return Interval(float("nan"), None, None)
    mean = sum(each.mean * n / total for each, n in known)
    halves = [
        max(each.high - each.mean, each.mean - each.low) * n / total
        for each, n in known
        if each.low is not None and each.high is not None
    ]
    if len(halves) < len(known):
        return Interval(mean, None, None)
    half = sum(h * h for h in halves) ** 0.5
    return Interval(mean, mean - half, mean + half)


def within(stretches: Sequence[Array], block: int, most: float = float("inf")) -> Interval:
    """The mean over stretches too short for intervals of their own, whose blocks vary alike.

    Means of blocks of ``block`` values, less their stretch's mean, give one variance s² for all with
    ν = Σ (nₛ - 1) degrees of freedom; the half width is t(ν)·√Σ (wₛ²·s²/nₛ), wₛ the stretch's share of the
    values (a stratified mean: Cochran, "Sampling techniques", 1977, section 5.4, with a common variance).
    None below four degrees of freedom, or where a stretch has no whole block.

    >>> within([np.array([0.0, 1.0] * 4), np.array([5.0, 6.0] * 4)], 2)
    Interval(mean=3.0, low=3.0, high=3.0)
    """
    parts = [np.asarray(values, np.float64) for values in stretches]
    total = sum(len(values) for values in parts)
    mean = float(np.concatenate(parts).mean())
    counts = [len(values) // max(1, block) for values in parts]
    degrees = sum(counts) - len(counts)
    if degrees < FEWEST - 1 or 0 in counts:
        return Interval(mean, None, None)
    squares, spread = 0.0, 0.0
    for values, count in zip(parts, counts):
        means = values[: count * block].reshape(count, block).mean(1)
        squares += float(((means - means.mean()) ** 2).sum())
        spread += (len(values) / total) ** 2 / count
    half = student(degrees) * (squares / degrees * spread) ** 0.5
    return Interval(mean, max(-most, mean - half), min(most, mean + half))


def block_of(n: int, batch: int) -> int:
    """Block length for a stretch of n values: a twentieth of it, and no less than an adaptation batch."""
    return max(1, batch, n // BLOCKS)


def student(degrees: float, z: float = Z) -> float:
    """The point of Student's t that z is of the normal, here 97.5 %, from four degrees on to 0.3 %.

    The Cornish-Fisher expansion in 1/ν (Abramowitz & Stegun 1964, 26.7.5).
    """
    v = float(degrees)
    return float(
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


__all__ = ["Interval", "block_of", "interval", "pooled", "student", "within"]
