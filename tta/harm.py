"""The log odds that a proposal is worse than the source, from what several checks say together.

A logistic regression over recorded steps with known labels: six shifts, several strengths, orders, methods
and batch sizes on three models; how well each check and the sum tell harmful from helpful steps on models
that the fit has not seen is in docs/governor.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

# Intercept, then a weight by check; the first line whose checks all have a figure is used.
WEIGHTS: tuple[tuple[float, Mapping[str, float]], ...] = (
    (0.45, {"entropy": 7.8, "residual_shift": 0.70, "alignment": 0.47}),
    (0.68, {"entropy": 8.5, "residual_shift": 0.79}),
    (-0.40, {"entropy": 5.8, "alignment": 1.15}),
    (0.0, {"entropy": 6.8}),
    (0.68, {"residual_shift": 0.79}),
)


def log_odds(figures: Mapping[str, float]) -> float:
    """ln[P(harm) / P(no harm)] from figures by check; nan where the checks that count are silent.

    >>> round(log_odds({"entropy": -0.2, "residual_shift": -1.0, "alignment": -1.0}), 2)
    -2.28
    """
    for intercept, weights in WEIGHTS:
        if all(math.isfinite(figures.get(name, math.nan)) for name in weights):
            return intercept + sum(w * figures[name] for name, w in weights.items())
    return math.nan
