"""Entropy: how much less sure the proposal is of frames that it has not learned from."""

from __future__ import annotations

import math

import numpy as np

from tta.evidence import Evidence
from tta.records import Array


class Entropy:
    """[H(adapted) - H(frozen)] / ln K, the mean entropies of the answers, in shares of the largest: -1..1.

    On frames that no step has seen, a model that fits the stream better is surer of it, and one that is
    worse is less sure (entropy as a proxy of error under shift: Wang et al., "Tent", ICLR 2021, figure 1).
    On frames that a step has trained on it says nothing, for entropy is what the step minimizes.
    """

    asks = frozenset({"scores"})
    threshold = math.inf

    def figure(self, evidence: Evidence) -> float:
        """The rise; nan where the model gives no class scores."""
        if evidence.classes < 2:
            return math.nan
        rise = _entropy(evidence.adapted_log_p) - _entropy(evidence.frozen_log_p)
        return float(rise / math.log(evidence.classes))

    def says(self, figure: float) -> str:
        """One clause."""
        return f"entropy rises by {figure:.2f} of its largest"


def _entropy(log_p: Array) -> float:
    return float(-(np.exp(log_p) * log_p).sum(1).mean())
