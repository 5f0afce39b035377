"""Two methods on the same images: tests and intervals of their difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tta.errors import TtaError
from tta.records import Array


@dataclass(frozen=True, slots=True)
class McNemar:
    """Images that only one of two methods answers rightly, and how surprising their numbers are.

    Attributes:
        broken: right by the first alone.
        repaired: right by the second alone.
        exact: two-sided p of the binomial test.
        mid: the same with half the weight on what was seen, which is less conservative.
    """

    broken: int
    repaired: int
    exact: float
    mid: float


def mcnemar(first: Array, second: Array) -> McNemar:
    """Test whether two methods are equally often right, from ``(n,)`` bool each.

    Only images on which they differ count; each then is a fair coin. McNemar, "Note on the sampling error of
    the difference between correlated proportions or percentages", Psychometrika 1947, in its exact form;
    mid-p: Fagerland, Lydersen & Laake, BMC Medical Research Methodology 2013, eq. 5.

    >>> found = mcnemar(np.array([True] * 8 + [False] * 2), np.array([False] * 8 + [True] * 2))
    >>> found.broken, found.repaired, round(found.exact, 4), round(found.mid, 4)
    (8, 2, 0.1094, 0.0654)
    """
    a, b = _paired(first, second)
    broken, repaired = int((a & ~b).sum()), int((b & ~a).sum())
    n, least = broken + repaired, min(broken, repaired)
    if not n:
        return McNemar(0, 0, 1.0, 1.0)
    log_p = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
        for k in range(least + 1)
    ]
    tail = math.fsum(math.exp(v) for v in log_p)
    exact = 1.0 if broken == repaired else min(1.0, 2 * tail)
    return McNemar(broken, repaired, exact, min(1.0, 2 * tail - math.exp(log_p[-1])))


def mcnemar_by_unit(first: Array, second: Array, units: Array) -> McNemar:
    """McNemar's exact test where images come in units ``(n,)``: one clip, or one image met several times.

    What stands or falls together is one draw. With dᵤ the images of unit u that ``second`` repaired less
    those that it broke, each dᵤ is as likely to have the other sign if neither method is better; p is the
    exact probability of a sum as far from zero. Where each unit is one image this is ``mcnemar``. The test by
    the signs of paired differences is that of Fisher, "The design of experiments", 1935, section 21.

    >>> found = mcnemar_by_unit(np.array([True] * 8), np.array([False] * 8), np.arange(8) // 4)
    >>> found.broken, found.exact
    (8, 0.5)
    """
    a, b = _paired(first, second)
    broken, repaired = int((a & ~b).sum()), int((b & ~a).sum())
    ids = np.unique(units, return_inverse=True)[1]
    if len(ids) != len(a):
        raise TtaError(f"{len(a)} images need as many units, but there are {len(ids)}")
    total = np.abs(np.rint(np.bincount(ids, b.astype(float) - a)).astype(int))
    seen = abs(repaired - broken)
    if not total.any():
        return McNemar(broken, repaired, 1.0, 1.0)
    mass = np.ones(1)  # of the sum of those dᵤ whose sign is kept, which is (Σdᵤ + Σ|dᵤ|)/2
    for size in np.unique(total[total > 0]):
        count = int((total == size).sum())
        spread = np.zeros(size * count + 1)
        spread[::size] = np.exp(_log_coins(count))
        mass = _convolved(mass, spread)
    sums = np.abs(2 * np.arange(len(mass)) - (len(mass) - 1))
    exact = min(1.0, math.fsum(mass[sums >= seen]))
    at = math.fsum(mass[sums == seen])
    return McNemar(broken, repaired, exact, max(0.0, exact - at / 2) if seen else 1.0)


def _log_coins(n: int) -> Array:
    """Log probabilities ``(n + 1,)`` of so many heads of n fair coins."""
    return np.array(
        [
            math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
            for k in range(n + 1)
        ]
    )


def _convolved(a: Array, b: Array) -> Array:
    """Both in full; by Fourier where they are long, which leaves an error of some 1e-16."""
    if min(len(a), len(b)) < 64:
        return np.convolve(a, b)
    length = len(a) + len(b) - 1
    power = 1 << (length - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(a, power) * np.fft.rfft(b, power), power)[:length]
    found: Array = np.maximum(product, 0)
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for how many there are: those below α hold together at level α.

    p̃ of the i-th smallest of m is the largest of (m - j + 1)·p_j for j ≤ i, at most 1. Holm, "A simple
    sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, float)
    if p.size and not ((p >= 0) & (p <= 1)).all():
        raise TtaError("p-values lie from 0 to 1, but one does not")
    order = np.argsort(p, kind="stable")
    steps = (len(p) - np.arange(len(p))) * p[order]
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps)) if p.size else []
    return [float(v) for v in adjusted]


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean gain of the second method over the first, in points.

    Attributes:
        gain: points of error less.
        low, high: two-sided 95 % interval.
        harm: one-sided 95 % upper bound of -gain, what the second may cost at most.
        clips: independent units behind it.
    """

    gain: float
    low: float
    high: float
    harm: float
    clips: int


def difference(
    first: Array, second: Array, clips: Array | None = None, draws: int = 4000, seed: int = 0
) -> Difference:
    """Gain of ``second`` over ``first``, both ``(n,)`` bool for right, with intervals over clips.

    Frames of one clip stand or fall together, so whole clips are drawn, n of n with replacement; the gain of
    a draw is over its frames. Without ``clips (n,)`` each image is one. Efron & Tibshirani, "An introduction
    to the bootstrap", 1993, section 13.3 (percentiles).
    """
    a, b = _paired(first, second)
    better = b.astype(float) - a
    ids = np.arange(len(a)) if clips is None else np.unique(clips, return_inverse=True)[1]
    if len(ids) != len(a):
        raise TtaError(f"{len(a)} images need as many clip numbers, but there are {len(ids)}")
    total, size = np.bincount(ids, better), np.bincount(ids)
    rng, means = np.random.default_rng(seed), np.empty(draws)
    for k in range(draws):
        drawn = rng.integers(len(total), size=len(total))
        means[k] = total[drawn].sum() / size[drawn].sum()
    low, one_sided, high = 100 * np.quantile(means, [0.025, 0.05, 0.975])
    return Difference(
        100 * float(better.mean()), float(low), float(high), -float(one_sided), len(total)
    )


def _paired(first: Array, second: Array) -> tuple[Array, Array]:
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.ndim != 1 or not len(a) or a.dtype != bool or b.dtype != bool:
        raise TtaError(
            f"a paired comparison takes two equally long (n,) arrays of bool, but got {a.dtype} {a.shape} "
            f"and {b.dtype} {b.shape}"
        )
    return a, b


__all__ = ["Difference", "McNemar", "difference", "holm", "mcnemar", "mcnemar_by_unit"]
