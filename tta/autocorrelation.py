"""How much less consecutive frames say than independent ones."""

from __future__ import annotations

import numpy as np

from tta.records import Array

LARGEST = 0.9995  # correlation of neighbours beyond which a stream stands still for our purposes


def effective_size(n: float, rho: float) -> float:
    """Independent frames that n frames are worth whose neighbours correlate with ρ: n(1-ρ)/(1+ρ).

    The large-n variance of the mean of a first-order autoregressive series (Bartlett, "On the theoretical
    specification and sampling properties of autocorrelated time-series", JRSS supplement 1946).

    >>> effective_size(300, 0.5)
    100.0
    """
    return n * (1 - rho) / (1 + rho)


def inflation(rho: float, block: int) -> float:
    """Variance of the mean of a block of such frames, over that of as many independent frames.

    1 + 2 Σ_{k=1}^{b-1} (1 - k/b) ρᵏ = (1+ρ)/(1-ρ) - 2ρ(1-ρᵇ)/(b(1-ρ)²): 1 for ρ = 0, b for ρ → 1.

    >>> inflation(0.0, 32), round(inflation(0.5, 2), 6)
    (1.0, 1.5)
    """
    return float((1 + rho) / (1 - rho) - 2 * rho * (1 - rho**block) / (block * (1 - rho) ** 2))


def correlation(inflated: float, block: int) -> float:
    """ρ at which a block's variance is inflated that much, by bisection.

    >>> round(correlation(inflation(0.9, 32), 32), 6)
    0.9
    """
    low, high = 0.0, LARGEST
    if inflated >= inflation(high, block):
        return high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if inflation(middle, block) < inflated else (low, middle)
    return low


def estimate(series: Array, block: int = 32) -> float:
    """Correlation ρ of neighbouring frames in series ``(n, s)``, the largest over the s series.

    From the variance of block means against that of frames, so that slow movement counts even where
    frame noise hides it from neighbours. At least four blocks; zero where nothing varies.
    """
    n = len(series) // block
    if n < 4:
        return 0.0
    values = np.asarray(series[: n * block], np.float64)
    means = values.reshape(n, block, -1).mean(1)
    variance, between = values.var(0), means.var(0, ddof=1)
    moving = variance > 1e-12
    if not moving.any():
        return 0.0
    return correlation(float((block * between[moving] / variance[moving]).max()), block)


def from_time(seconds: float, fps: float) -> float:
    """ρ of neighbouring frames for an exponential correlation time: exp(-1/(τ·fps)).

    >>> round(from_time(1.0, 30.0), 4)
    0.9672
    """
    return min(float(np.exp(-1 / max(seconds * fps, 1e-9))), LARGEST)
