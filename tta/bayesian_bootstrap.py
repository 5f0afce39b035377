"""An interval for the mean of a few values, without a model of them."""

from __future__ import annotations

import numpy as np

from tta.records import Array

DRAWS = 400


def resampled(values: Array, draws: int = DRAWS, seed: int = 0) -> Array:
    """Means of the values ``(n,)`` under ``draws`` random weightings ``(draws,)``.

    Weights are Dirichlet(1, ..., 1), so the draws have the values' mean and variance s²/(n+1), s² being the
    biased variance: the posterior of the mean when the predictive is the empirical distribution itself
    (Rubin, "The Bayesian bootstrap", Annals of Statistics 1981; Fong, Holmes & Walker, "Martingale
    posterior distributions", JRSS B 2023, section 1.3).
    """
    rng = np.random.default_rng(seed)
    weights = rng.standard_exponential((draws, len(values)))
    weights /= weights.sum(1, keepdims=True)
    found: Array = weights @ np.asarray(values, np.float64)
    return found


def interval(values: Array, inside: float = 0.9, seed: int = 0) -> tuple[float, float]:
    """Central interval of the mean that holds ``inside`` of its posterior; nan without values.

    >>> import numpy as np
    >>> low, high = interval(np.array([0.0, 1.0] * 50))
    >>> 0.4 < low < 0.5 < high < 0.6
    True
    """
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(resampled(values, seed=seed), [(1 - inside) / 2, (1 + inside) / 2])
    return float(low), float(high)
