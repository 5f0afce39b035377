"""Residual shift: how far the layers still are from the statistics that the proposal normalizes with."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tta.evidence import Evidence
from tta.moments import symmetric_kl
from tta.records import Array, Moments

EPS = 1e-5  # added to variances, as norm layers do
FLOOR = 1e-3  # nats that count as no shift


class ResidualShift:
    """ln[(r(adapted) + 10⁻³) / (r(frozen) + 10⁻³)], r the divergence left after normalization, in nats.

    r is the mean over layers of the symmetric Gaussian divergence between N(0, 1) and what a layer gives once
    it is normalized by its state's own mean and variance: mean (m - μ)/√(v + ε), variance s²/(v + ε), with
    the frames' moments m, s². Statistics that fit the stream leave little; those that fit a lucky batch,
    one class or another domain leave more on the next frames than the source's do.
    """

    threshold = math.inf

    def figure(self, evidence: Evidence) -> float:
        """The log of the ratio; nan where no layer has statistics among its slots."""
        before = residual(evidence.frozen.moments, evidence.source)
        after = residual(evidence.adapted.moments, evidence.slots)
        return math.log((after + FLOOR) / (before + FLOOR))

    def says(self, figure: float) -> str:
        """One clause."""
        return f"the layers are {math.exp(figure):.1f} times as far from their statistics"


def residual(moments: Mapping[str, Moments], slots: Mapping[str, Array]) -> float:
    """Mean divergence r over layers with ``<layer>.mean`` and ``<layer>.var``; nan without any."""
    found = []
    for layer, seen in moments.items():
        mean, var = slots.get(f"{layer}.mean"), slots.get(f"{layer}.var")
        if mean is None or var is None:
            continue
        v = np.asarray(var, np.float64) + EPS
        normalized = ((seen.mean - mean) / np.sqrt(v), seen.var / v)
        found.append(symmetric_kl(normalized, (np.zeros_like(v), np.ones_like(v))))
    return float(np.mean(found)) if found else math.nan
